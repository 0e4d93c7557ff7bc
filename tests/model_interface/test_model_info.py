"""What a model file defines, with the defaults for what it leaves out."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from pydantic import BaseModel, Field

from model_interface.fields import NoFields
from model_interface.files import Upload
from model_interface.model_info import (
    ModelInfo,
    WrongModel,
    check_fields,
    predict,
    usage,
)


class Language(BaseModel):
    language: Literal["en", "de"] = Field("en", description="What is spoken.")


class Plain:
    pass


LANGUAGE = {
    "language": {
        "default": "en",
        "description": "What is spoken.",
        "enum": ["en", "de"],
        "title": "Language",
        "type": "string",
    }
}


class Complete:
    name, revision = "complete", "abc"
    accepts = "audio/*"
    Fields = Language
    routes = ("top",)
    max_batch = 7
    example = Upload(b"RIFF")

    def batch_key(self, input):
        return len(input)

    def draw(self, output):
        return f"drawn {output}"


def test_model_without_attributes_has_the_defaults():
    info = ModelInfo.of(Plain(), "my.module", "cpu")
    assert (info.name, info.revision, info.device) == ("my.module", None, "cpu")
    assert (info.accepts, info.Fields, info.routes) == ("image/*", NoFields, ())
    assert (info.max_batch, info.example, info.draw) == (32, [], None)
    assert info.batch_key("a") == info.batch_key("bb")


def test_attributes_of_the_model_are_used():
    info = ModelInfo.of(Complete(), "my.module", "cuda:1")
    assert (info.name, info.revision, info.device) == ("complete", "abc", "cuda:1")
    assert (info.accepts, info.routes, info.max_batch) == ("audio/*", ("top",), 7)
    assert info.Fields == Language
    assert info.example == [replace(Complete.example, fields=Language())]
    assert (info.batch_key("bb"), info.draw("a")) == (2, "drawn a")


def test_device_of_the_model_is_the_one_it_was_loaded_on():
    model = Plain()
    model.device = "wrong"
    assert ModelInfo.of(model, "my.module", "cpu").device == "cpu"


@pytest.mark.parametrize("revision, version", [(None, "a/b"), ("1", "a/b@1")])
def test_version_names_the_revision_if_there_is_one(revision, version):
    assert ModelInfo(name="a/b", revision=revision).version == version


def test_info_is_shown_as_json():
    assert ModelInfo.of(Complete(), "my.module", "cpu").to_json() == {
        "model": "complete",
        "revision": "abc",
        "device": "cpu",
        "details": "",
        "accepts": "audio/*",
        "fields": LANGUAGE,
        "routes": {"top": LANGUAGE},
    }


class Tree(BaseModel):
    parts: list["Tree"] = []


class Branch(BaseModel):
    tree: Tree = Tree()


class Endless(BaseModel):
    length: float = math.inf


@pytest.mark.parametrize(
    "fields, reason",
    [
        (Tree, "it contains itself"),
        (Branch, "it contains itself"),
        (Endless, "a default is not finite"),
    ],
)
def test_fields_that_cannot_be_described_are_refused(fields, reason):
    with pytest.raises(
        SystemExit, match=f"{fields.__name__} cannot be described: {reason}"
    ):
        check_fields(fields, set())


class Outputs:
    def __init__(self, outputs):
        self.predict = lambda inputs: outputs


@pytest.mark.parametrize("outputs", ["ab", {1: 2, 3: 4}, {1, 2}, np.array(3), 5, None])
def test_outputs_that_are_no_list_are_refused(outputs):
    with pytest.raises(WrongModel, match="predict returned a .*, not a list"):
        predict(Outputs(outputs), [1, 2])


class Table:
    """Like a table of pandas: its length counts rows, and it yields its columns."""

    def __len__(self):
        return 2

    def __iter__(self):
        return iter(["column"])


def test_each_output_is_counted():
    with pytest.raises(WrongModel, match="1 outputs for 2 inputs"):
        predict(Outputs(Table()), [1, 2])


@pytest.mark.parametrize("outputs", [[1, 2], (1, 2), np.array([1, 2])])
def test_outputs_are_a_list(outputs):
    assert predict(Outputs(outputs), [1, 2]) == [1, 2]


def test_usage_names_the_kind_of_file():
    assert 'JSON {"image": "<base64>"}' in usage("image/*")
    assert "-F file=@name" in usage("application/pdf")
    assert "text" in usage("text/plain")
