"""`flask check` on a good model file, and on one file for each possible mistake."""

import re
import sys

import pytest
from click.testing import CliRunner

from endpoint import batcher, create_app
from tests.support.apps import wait_until
from tests.support.server import ROOT
from tools import check

GOOD = """
    from pydantic import Field, create_model
    from model_helpers.image import decode_image

    class Model:
        max_batch = 5

        def __init__(self, device):
            self.scale = 10

        def decode(self, upload):
            return decode_image(upload).size

        def predict(self, sizes):
            return [width * self.scale for width, height in sizes]

        def encode(self, number):
            return {"width": number}
"""
# Attributes of a model, and what is said about them.
ATTRIBUTES = [
    ("max_batch = 0", "max_batch must be a whole number from 1 to 65,536"),
    ("max_batch = 2.5", "max_batch must be a whole number"),
    ("max_batch = True", "max_batch must be a whole number"),
    ("max_batch = '8'", "max_batch must be a whole number"),
    ("routes = 'top'", "routes must be a tuple like"),
    ("routes = ['a b']", "routes must be a tuple like"),
    ("routes = 5", "routes must be a tuple like"),
    ("routes = {'top': int}", "routes must be a tuple like"),
    ("Fields = {'a': 'b'}", "Fields must be a class that inherits BaseModel"),
    ("Fields = int", "Fields must be a class that inherits"),
    (
        "fields = {'a': 'b'}",
        "fields is not an attribute of this endpoint: is it Fields",
    ),
    ("max_batchs = 5", "is it max_batch?"),
    ("exampel = 5", "is it example?"),
    ("batch_keys = len", "is it batch_key?"),
    ("route = ('top',)", "is it routes?"),
    ("accept = 'image/*'", "is it accepts?"),
    ("example = 'a.jpg'", "example must be an Upload, or a list of them"),
    ("example = [5]", "example must be an Upload, or a list of them"),
    ("accepts = 'image'", "accepts must be like"),
    ("accepts = ['image/*']", "accepts must be like"),
    ("name = 5", "name must be text"),
    ("name = 'a\\nb'", "name must be text"),
    ("name = '\\ud800'", "name must be text"),
    (
        "example = __import__('model_interface.files').files.Upload('a')",
        "the data of the example must be bytes",
    ),
    ("revision = 5", "revision must be text"),
    ("batch_key = 5", "batch_key must be a method"),
    ("draw = 5", "draw must be a method"),
    (
        "Fields = create_model('Fields', n=(int, Field(0, ge=1)))",
        "default of Fields is wrong: n",
    ),
    (
        "Fields = create_model('Fields', n=(int, None))",
        "default of Fields is wrong: n should",
    ),
    (
        "Fields = create_model('Fields', file=(str, 'a'))",
        "a field may not be named file",
    ),
    (
        "Fields = create_model('Fields', call=(__import__('typing').Callable, len))",
        "Fields cannot be described",
    ),
]
WIDTHS = "[width * self.scale for width, height in sizes]"
WIDTH = '{"width": number}'
PILLOW = "__import__('PIL.Image').Image.open(__import__('io').BytesIO(upload.data))"
# Part of the good file, what replaces it, and what is reported then.
MISTAKES = {
    "one output": (WIDTHS, "str(sizes)", "predict returned a str, not a list"),
    "no return": ("return decode_image", "decode_image", "predict fails at line 15"),
    "too few": (WIDTHS, "sizes[:1]", "1 outputs for 2 inputs: return one for"),
    "wrong order": (WIDTHS, f"{WIDTHS}[::-1]", "order: output 1 of . belongs to"),
    "others": (WIDTHS, "[max(sizes)[0] + len(sizes)] * len(sizes)", "the other inputs"),
    "only a few": (WIDTHS, f"len(sizes) < 5 and {WIDTHS}", "returned a bool, not"),
    "only one": (WIDTHS, f"len(sizes) < 2 and {WIDTHS}", "returned a bool, not"),
    "raises": (WIDTHS, "[1 / 0]", "fails at line 15 of .*py, return .1 / 0.: ZeroDiv"),
    "no list": (WIDTHS, "iter(sizes)", "returned a list_iterator, not a list"),
    "no dict": (WIDTH, "number", "encode returned an object of type int"),
    "nothing": (WIDTH, "{}", "encode returned an empty dict"),
    "no JSON": (WIDTH, '{"size": {number}}', '"size" of type set, which is not JSON'),
    "NaN": (WIDTH, '{"size": float("nan")}', '"size" of type float, which is not JSON'),
    "no encode": ("def encode", "def encoded", r"no method encode\(self, output\)"),
    "no class": ("class Model", "class Network", "has no class Model"),
    "no syntax": ("class Model:", "class Model", "line 5 of .*class Model: SyntaxErr"),
    "no import": ("import decode_image", "import decode", "at line 3 .*ImportError"),
    "slow import": (
        "class Model",
        "__import__('time').sleep(1.1)\n\n    class Model",
        "1.1 s .* move what it loads to __init__",
    ),
    "loading": ("= 10", "= 1 / 0", r"Model\(device\) fails at line 9"),
    "exit": ("= 10", "= exit('No weights.')", "ends the process: No weights."),
    "invalid": ("decode_image(upload)", PILLOW, "fails with UnidentifiedImageError"),
    **{
        f"attribute {number}": ("max_batch = 5", *mistake)
        for number, mistake in enumerate(ATTRIBUTES)
    },
    "draws text": ("max_batch = 5", "draw = str", "draw returned a str: it must retur"),
    "key": (
        "max_batch = 5",
        "batch_key = lambda self, size: [1]",
        "returned a list: it",
    ),
    "key fails": (
        "max_batch = 5",
        "def batch_key(self, size):\n            return 1 / 0",
        r"batch_key fails at line \d+ ",
    ),
    "list": (WIDTH, "[number]", "encode returned an object of type list"),
    "file": (WIDTH, '{"a": b"RIFF"}', '"a" of type bytes, which is not JSON'),
    "accepts all": (
        "decode_image(upload).size",
        "len(upload.data), 0",
        "accepts an invalid",
    ),
}


def run(module):
    result = CliRunner().invoke(check.check, [module])
    return result.exit_code, result.output


def test_good_model_passes_with_its_measurements(model_file):
    status, output = run(model_file(GOOD).stem)
    assert status == 0 and output.endswith("All is well.\n")
    assert '{"width": 6400}' in output and "ms for 5" in output
    assert "MB at its peak" in output and "not checked" not in output


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_reported_in_a_sentence(model_file, mistake):
    good, bad, sentence = MISTAKES[mistake]
    assert good in GOOD
    status, output = run(model_file(GOOD.replace(good, bad)).stem)
    *_, last = output.strip().splitlines()
    assert status == 1 and re.search(sentence, last), output


# The start does not know how long each import of a model file takes.
UNSEEN = {"slow import"}
# These mistakes let every request have an answer: the server starts with a warning.
WARNINGS = {"others", "only a few"}


@pytest.fixture
def started(model_file, monkeypatch):
    """Start a server with a model file, which gets an example if it has none."""

    def start(source):
        source = f"    from model_interface.files import Upload{source}"
        if "example" not in source:
            line = "\n        example = Upload.from_file('french_bulldog.jpg')"
            source = source.replace("class Model:", f"class Model:{line}")
        monkeypatch.setattr(batcher, "DRAIN_SECONDS", 0)
        monkeypatch.setattr("model_interface.batch_check.LARGE_BATCH_SECONDS", 1000)
        served = create_app(model_file(source).stem).extensions["batcher"]
        served.exits = []
        served.exit = served.exits.append
        served.start()
        wait_until(lambda: served.exits or served.state == "ready")
        return served

    return start


def said(caplog, level):
    return [each.getMessage() for each in caplog.records if each.levelname == level]


@pytest.mark.parametrize("mistake", sorted(MISTAKES.keys() - UNSEEN - WARNINGS))
def test_server_ends_its_start_with_the_same_sentence(started, mistake, caplog):
    good, bad, sentence = MISTAKES[mistake]
    assert started(GOOD.replace(good, bad)).exits == [3]
    [line] = said(caplog, "CRITICAL")
    sentence = sentence.replace("ends the process", "The model cannot be loaded")
    sentence = re.sub(r"at line \d+", r"at line \\d+", sentence)  # An example is added.
    assert re.search(sentence, line)


@pytest.mark.parametrize("mistake", sorted(WARNINGS))
def test_server_starts_with_the_same_sentence_as_a_warning(started, mistake, caplog):
    good, bad, sentence = MISTAKES[mistake]
    assert started(GOOD.replace(good, bad)).state == "ready"
    assert any(re.search(sentence, line) for line in said(caplog, "WARNING"))


def test_start_warns_of_nothing_in_a_good_model(started, caplog):
    assert started(GOOD).state == "ready"
    lines = said(caplog, "WARNING")
    assert [each for each in lines if "NO GPU FOUND" not in each] == []


EAGER = "import time\ntime.sleep(1.1)\nthing = 1\n"
LAZY = """
def __getattr__(name):
    import time
    if name != "thing":
        raise AttributeError
    time.sleep(1.1)
    globals()[name] = 1
    return 1
"""


@pytest.mark.parametrize("library", [EAGER, LAZY])
def test_imports_do_not_count_as_the_time_of_the_file(
    model_file, tmp_path, monkeypatch, library
):
    (tmp_path / "slow_library.py").write_text(library)
    monkeypatch.delitem(sys.modules, "slow_library", raising=False)
    status, output = run(model_file(f"    from slow_library import thing{GOOD}").stem)
    assert status == 0, output
    assert re.search(r"import   [1-9][.\d]* s, 0\.\d s of it in the file", output)


def test_tensor_instead_of_a_number_is_reported(model_file):
    pytest.importorskip("torch")
    source = GOOD.replace("width * self.scale", "torch.tensor(width)")
    source = source.replace("from pydantic", "import torch\n    from pydantic")
    assert (
        '"width" of type Tensor, which is not JSON' in run(model_file(source).stem)[1]
    )


def test_images_of_two_sizes_must_fit_in_a_batch(model_file):
    stack = "np.stack([np.asarray(size) for size in sizes]).mean((1, 2, 3)).tolist()"
    source = GOOD.replace("image(upload).size", "image(upload)").replace(WIDTHS, stack)
    source = source.replace("from", "import numpy as np\n    from")
    status, output = run(model_file(source).stem)
    assert status == 1 and "np.stack" in output and "same shape" in output


def test_step_that_hangs_is_reported_with_its_line(model_file, monkeypatch):
    monkeypatch.setattr(check, "STEP_TIMEOUT", 1)
    source = GOOD.replace(WIDTHS, "__import__('time').sleep(9)")
    status, output = run(model_file(source).stem)
    assert status == 1 and "predict takes over 1 s at line 15" in output


def test_equal_answers_leave_the_order_unchecked(model_file):
    status, output = run(model_file(GOOD.replace(WIDTH, '{"width": 0}')).stem)
    assert status == 0 and "order    not checked" in output
    assert "all inputs of a batch have the same answer" in output


def test_other_batch_key_leaves_the_order_unchecked(model_file):
    key = "max_batch = 5\n        batch_key = staticmethod(lambda size: size)"
    status, output = run(model_file(GOOD.replace("max_batch = 5", key)).stem)
    assert status == 0 and "order    not checked" in output


def test_value_that_fields_allow_must_be_accepted(model_file):
    fields = (
        "max_batch = 5\n        Fields = create_model('F', n=(int, Field(1, le=9)))"
    )
    refuse = "upload.fields.n > 8 and exec('raise BadRequest(\"Too many.\")')"
    source = GOOD.replace("max_batch = 5", fields)
    source = source.replace("return dec", f"{refuse}\n            return dec")
    source = "    from werkzeug.exceptions import BadRequest" + source
    status, output = run(model_file(source).stem)
    assert status == 1 and "decode refuses n=9 of the model: Too many." in output


def test_answer_that_depends_on_the_padding_is_reported(model_file):
    fields = "Fields = create_model('F', prompt=(str, 'Describe it.'))"
    source = GOOD.replace("max_batch = 5", f"max_batch = 5\n        {fields}")
    source = source.replace("image(upload).size", "image(upload), upload.fields.prompt")
    padded = "[len(text) / max(len(each) for _, each in sizes) for _, text in sizes]"
    status, output = run(model_file(source.replace(WIDTHS, padded)).stem)
    assert status == 1 and "depends on the other inputs in its batch" in output


def test_model_for_audio_needs_an_example(model_file):
    source = GOOD.replace("max_batch = 5", "accepts = 'audio/*'")
    assert "that accepts audio/* needs an example" in run(model_file(source).stem)[1]


@pytest.mark.attack(6)
def test_missing_weights_are_reported(model_file, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import load_file, save_file

    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.ViTConfig(intermediate_size=8, image_size=16, **size)
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    tensors = load_file(tmp_path / "vit" / "model.safetensors")
    del tensors["layernorm.weight"]
    save_file(tensors, tmp_path / "vit" / "model.safetensors", {"format": "pt"})
    folder = f"pretrained.Path({str(tmp_path / 'vit')!r})"
    load = f"pretrained.load_network(ViTModel, {folder}, device)"
    source = "    from transformers import ViTModel\n"
    source += "    from model_helpers import pretrained"
    status, output = run(model_file(source + GOOD.replace("10", load)).stem)
    sentence = (
        r"ends the process: The model in .* has no weights for layernorm.weight\."
    )
    assert status == 1 and re.search(sentence, output), output


def test_unknown_module_is_reported():
    for module in ("nothing", "nothing.at.all", "tests", "../nothing.py"):
        assert run(module)[0] == 1
    assert "There is no module nothing." in run("nothing")[1]


FAKE = "tests/support/fake_model.py"


@pytest.mark.parametrize(
    "name", ["tests.support.fake_model", FAKE, f"./{FAKE}", f"{ROOT}/{FAKE}"]
)
def test_module_is_named_with_dots_or_by_its_path(flask, name):
    assert "All is well." in flask("check", name)[1]


def test_module_of_the_settings_is_the_default(flask, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODULE", "tests.support.fake_model")
    assert "640 by 427" in flask("check")[1]


def test_random_answers_leave_the_order_unchecked(model_file):
    random = '{"width": __import__("random").getrandbits(60)}'
    status, output = run(model_file(GOOD.replace(WIDTH, random)).stem)
    assert status == 0
    assert "order    not checked: the same input has different answers" in output


def test_file_with_a_byte_order_mark_is_read(model_file):
    path = model_file(GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert run(path.stem)[0] == 0


def test_package_that_cannot_be_imported_is_not_missing(model_file, tmp_path):
    package = model_file(GOOD).parent / "package_of_a_model"
    package.mkdir()
    (package / "__init__.py").write_text("import missing_package")
    status, output = run("package_of_a_model.model")
    assert status == 1 and "No module named 'missing_package'" in output


def test_field_that_must_be_sent_needs_an_example(model_file):
    fields = "Fields = create_model('Fields', n=(int, Field()))\n        max_batch = 5"
    status, output = run(model_file(GOOD.replace("max_batch = 5", fields)).stem)
    assert status == 1
    assert "A model with a field that must be sent needs an example." in output


def test_encode_may_get_the_same_output_again(model_file):
    source = GOOD.replace(WIDTHS, "[[width] for width, height in sizes]")
    source = source.replace(WIDTH, '{"width": number.pop()}')
    status, output = run(model_file(source).stem)
    assert status == 1 and "encode fails when it gets the same output again" in output


def test_error_without_a_text_is_reported(model_file):
    error = "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})"
    source = GOOD.replace("self.scale = 10", error)
    status, output = run(model_file(source).stem)
    assert status == 1 and output.strip().endswith("Odd: no message")


def test_field_may_have_the_name_of_a_method(model_file):
    fields = "Fields = create_model('Fields', keys=(int, 1), items=(int, 2))"
    source = GOOD.replace("max_batch = 5", f"{fields}\n        max_batch = 5")
    assert run(model_file(source).stem)[0] == 0


def test_validator_that_fails_is_reported_with_its_line(model_file):
    source = GOOD.replace(
        "    class Model:",
        """    from pydantic import BaseModel, field_validator

    class Sized(BaseModel):
        size: int = Field(1, ge=1, le=3)

        @field_validator("size")
        @classmethod
        def look_up(cls, size):
            return {1: 10}[size]

    class Model:
        Fields = Sized""",
    )
    status, output = run(model_file(source).stem)
    assert status == 1 and "Checking the fields fails at line 13" in output
    assert output.strip().endswith("return {1: 10}[size]: KeyError: 3")
