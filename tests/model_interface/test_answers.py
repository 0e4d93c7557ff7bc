"""Answers: images and files among their values, and those that cannot be sent."""

import numpy as np
import pytest
from PIL import Image

from model_interface.answers import (
    PNG,
    check_answer,
    check_drawing,
    data_uri,
    media_type,
    to_file,
)
from model_interface.files import OCTETS, File
from model_interface.model_info import WrongModel

IMAGE = Image.new("RGB", (2, 2))
NOT_ANSWERS = [7, "text", [7], b"RIFF", {"a": b"RIFF"}, np.zeros(2)]
NOT_ANSWERS += [{"a": float("nan")}, Image.new("F", (2, 2)), [{"a": 1}]]
NOT_ANSWERS += [{"a": "\ud800"}, File(b"", "wav"), File(b"", "a/b\n"), File(b"", None)]
DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]
NOT_ANSWERS += [{"a": DEEP}]


def test_image_becomes_a_png():
    file = to_file(Image.new("RGB", (5, 6)))
    assert file.media_type == PNG and file.data.startswith(b"\x89PNG")
    assert to_file(file) is file


@pytest.mark.parametrize(
    "value, kind",
    [
        (Image.new("L", (1, 1)), PNG),
        (File(b"RIFF", "audio/wav"), "audio/wav"),
        (File(b"x"), OCTETS),
        ("text", None),
        (5, None),
    ],
)
def test_only_files_and_images_have_a_media_type(value, kind):
    assert media_type(value) == kind


def test_other_value_is_no_file():
    with pytest.raises(TypeError, match="A value of type set is not JSON."):
        data_uri({1})


@pytest.mark.parametrize("answer", NOT_ANSWERS)
def test_answer_that_cannot_be_sent_is_refused(answer):
    with pytest.raises(WrongModel, match="encode returned"):
        check_answer(answer)


def test_drawing_must_be_a_png():
    for drawing in (None, IMAGE):
        check_drawing(drawing)
    for drawing in (Image.new("F", (2, 2)), Image.new("RGB", (0, 0))):
        with pytest.raises(WrongModel, match="draw returned an image that is no PNG: "):
            check_drawing(drawing)
