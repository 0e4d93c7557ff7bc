"""Changed examples, and the comparison of answers in a batch with those alone."""

import io

import pytest
from PIL import Image

from model_interface import batch_check
from model_interface.batch_check import DependsOnBatch, changes, check_batch
from model_interface.files import Upload
from model_interface.model_info import WrongModel


def test_images_change_their_pixels_and_their_size():
    data = Upload.from_file("french_bulldog.jpg").data
    sizes = [Image.open(io.BytesIO(each)).size for each in changes(data, "image/*")]
    assert sizes == [(640, 427), (427, 427)]


def test_texts_change_their_order_and_their_length():
    assert list(changes(b"one two", "text/plain")) == [b"two one", b"one two one two"]


def test_example_in_an_unknown_format_is_not_changed():
    assert list(changes(b"no image", "image/*")) == []


def test_images_are_close_within_one_percent():
    grey, brighter = (Image.new("RGB", (9, 9), (99 + more,) * 3) for more in (0, 30))
    almost = grey.copy()
    almost.putpixel((4, 4), (100, 99, 99))
    assert batch_check.is_close(grey, almost)
    assert not batch_check.is_close(grey, brighter)
    assert not batch_check.is_close(grey, grey.resize((9, 8)))
    assert batch_check.shorten(grey) == "an image of 9 x 9"


@pytest.mark.parametrize("answers", [["b", "a"], ["b", "c", "a"], ["a", "c", "b"]])
def test_permuted_answers_are_in_the_wrong_order(answers):
    with pytest.raises(WrongModel, match="order: output . of . belongs to another"):
        check_batch(answers, ["a", "b", "c"][: len(answers)])


@pytest.mark.parametrize("answers", [["b", "b"], ["a", "a"], ["c", "b"]])
def test_answer_that_changes_in_a_batch_depends_on_it(answers):
    with pytest.raises(DependsOnBatch, match="alone '.', in a batch of 2 '.'"):
        check_batch(answers, ["a", "b"])


def test_answers_as_alone_are_accepted():
    check_batch(["a", "b"], ["a", "b"])
    check_batch([{"score": 0.501, "total_time": 3}], [{"score": 0.5, "total_time": 1}])
