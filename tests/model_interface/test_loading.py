"""A model file, imported, checked and loaded."""

import pytest
from pydantic import BaseModel

from model_interface.errors import ModelError
from model_interface.loading import check_class, load_model

PLAIN = """
    class Model:
        def __init__(self, device):
            self.device = device

        def decode(self, upload):
            return upload.data

        def predict(self, inputs):
            return inputs

        def encode(self, output):
            return {"text": output.decode()}
"""


def test_model_is_loaded_from_its_module_onto_the_device(model_file, caplog):
    caplog.set_level("INFO", "endpoint")
    path = model_file(PLAIN)
    model, info = load_model(path.stem, "cpu")
    assert (model.device, info.device, info.name) == ("cpu", "cpu", path.stem)
    assert f"Serving {path.stem} on cpu." in caplog.text


@pytest.mark.parametrize(
    "module, reason",
    [
        ("tests.nothing", "No module named 'tests.nothing'"),
        ("nothing.at.all", "No module named 'nothing'"),
        (
            "model_interface.model_info.more",
            "'model_interface.model_info' is not a package",
        ),
        ("json", "it has no class Model"),
    ],
)
def test_module_that_cannot_be_loaded_is_a_sentence(module, reason):
    with pytest.raises(SystemExit, match=reason) as end:
        load_model(module, "cpu")
    assert str(end.value).startswith(f"ENDPOINT_MODULE is {module}")
    assert str(end.value).endswith(".")


def test_error_of_the_model_file_keeps_its_traceback(model_file):
    with pytest.raises(ModelError, match="Importing fails at line 1 of ") as failure:
        load_model(model_file("import missing_package").stem, "cpu")
    assert str(failure.value).endswith("No module named 'missing_package'")
    assert isinstance(failure.value.__cause__, ModuleNotFoundError)


def test_attribute_that_resembles_one_of_the_server_is_allowed():
    class Own:
        devices = 2
        decode = predict = encode = print
        _fields = ("a", "b")

        class MyFields(BaseModel):
            pass

        def route(self):
            pass

    check_class(Own)
