"""The fields of a model as options of `flask predict`: checked first, and listed."""

import json

import pytest

from endpoint import create_app
from tests.support.images import make_image

TYPED = """
    from typing import Literal

    from pydantic import BaseModel, Field

    from model_helpers.image import decode_image
    from model_interface.files import Upload

    LOADED = []

    class Model:
        class Fields(BaseModel):
            max_tokens: int = Field(64, ge=1, le=256, description="The length.")
            labels: list[str] = Field(["cat", "dog"], max_length=3)
            explain: bool = False
            mask: Upload | None = None
            format: Literal["long", "short"] = "long"
            scale: float | None = Field(None, gt=0)

        def __init__(self, device):
            LOADED.append(device)

        def decode(self, upload):
            decode_image(upload)
            return upload.fields

        def predict(self, fields):
            return fields

        def encode(self, fields):
            return fields.model_dump(exclude={"mask"}) | {
                "mask": fields.mask and [len(fields.mask.data), fields.mask.media_type]
            }
"""
DEFAULTS = {
    "max_tokens": 64,
    "labels": ["cat", "dog"],
    "explain": False,
    "format": "long",
    "scale": None,
    "mask": None,
}


@pytest.fixture
def module(model_file):
    return model_file(TYPED).stem


@pytest.fixture
def app(module):
    return create_app(module)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(make_image(9, 9))
    return path


def test_options_set_fields(flask, image):
    data = [image.stat().st_size, "image/png"]
    given = {
        (): {},
        ("--max-tokens", "32"): {"max_tokens": 32},
        ("--max_tokens=32",): {"max_tokens": 32},
        ("--explain",): {"explain": True},
        ("--explain", "--no-explain"): {"explain": False},
        ("--explain=false",): {"explain": False},
        ("--labels", "a dog", "--labels=a,b"): {"labels": ["a dog", "a,b"]},
        ("--labels", "a, b"): {"labels": ["a", "b"]},
        ("--mask", str(image)): {"mask": data},
        ("--scale", "0.5"): {"scale": 0.5},
        ("--field", "format=short", "--field", "explain"): {
            "format": "short",
            "explain": True,
        },
    }
    for options, fields in given.items():
        arguments = *options, image, "--format", "jsonl"
        status, line, _ = flask("predict", *arguments)
        assert status == 0 and json.loads(line) == {
            "input": str(image),
            **(DEFAULTS | fields),
        }


MISTAKES = {
    ("--max-tokens", "500"): "max_tokens should be less than or equal to 256.",
    ("--max-tokens", "many"): "max_tokens should be a valid integer",
    ("--scale", "inf"): "scale should be a finite number.",
    ("--explain=maybe",): "explain should be a valid boolean",
    ("--lables", "cat"): "No option --lables; the model's own: --max-tokens, --lab",
    ("--no-labels",): "No option --no-labels",
    ("--no-explain=1",): "Option --no-explain does not take a value.",
    ("--scale",): "Option --scale requires a value.",
    ("--mask", "none.png"): "--mask none.png: No such file",
    ("--mask", "http://127.0.0.1:9/a.png"): "--mask http://127.0.0.1:9/a.png: It can",
    ("--explain",): "Name at least one file",
}


@pytest.mark.parametrize("options", MISTAKES, ids=" ".join)
def test_mistakes_are_told_before_the_model_is_loaded(flask, image, module, options):
    sources = [] if options == ("--explain",) else [image]
    status, output, errors = flask("predict", *sources, *options)
    assert (status, output) == (2, "") and MISTAKES[options] in errors
    assert __import__(module).LOADED == []


def test_required_field_is_asked_for(flask, image, model_file):
    source = TYPED.replace("= Field(64, ge=1, le=256, desc", "= Field(ge=1, desc")
    app = create_app(model_file(source).stem)
    status, _, errors = flask("predict", image, app=app)
    assert status == 2 and "max_tokens: Field required." in errors
    text = " ".join(flask("predict", "--help", app=app)[1].split())
    assert "--max-tokens INTEGER The length. [at least 1; required]" in text


def test_fields_of_the_loaded_model_are_options(flask, image, model_file):
    source = TYPED.replace("class Fields", "class Own")
    source = source.replace("LOADED.append(device)", "self.Fields = self.Own")
    app = create_app(model_file(source).stem)
    arguments = "predict", image, "--scale", "2", "--format", "jsonl"
    assert json.loads(flask(*arguments, app=app)[1])["scale"] == 2
    assert "the model's own: --max-t" in flask("predict", image, "--x", "", app=app)[2]


def test_help_lists_the_fields_of_the_model(flask, module):
    status, text, _ = flask("predict", "--help")
    section = " ".join(text.partition("Fields of the model:\n")[2].split())
    assert status == 0 and section == (
        "--max-tokens INTEGER The length. [at least 1; at most 256; default: 64] "
        "--labels TEXT [repeatable; at most 3 values; default: cat, dog] "
        "--explain / --no-explain [default: off] "
        "--mask FILE "
        "--field format=[long|short] [default: long] "
        "--scale NUMBER [more than 0]"
    )
    assert __import__(module).LOADED == []


@pytest.mark.parametrize("source", ["import nothing", "1 +", "Model = 1 / 0", "x = 1"])
def test_help_needs_no_module_that_works(flask, source, model_file):
    app = create_app(model_file(source).stem)
    status, text, errors = flask("predict", "--help", app=app)
    assert (status, errors) == (0, "") and "--output" in text
    assert f"{app.config['MODULE']} cannot be imported: " in " ".join(text.split())


def test_model_without_fields_has_no_section(flask, model_file):
    app = create_app(model_file("class Model: pass").stem)
    assert "Fields of the model" not in flask("predict", "--help", app=app)[1]
