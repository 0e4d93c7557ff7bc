"""Changed examples, and the comparison of answers in a batch with those alone."""

import io
import re

import pytest
from PIL import Image

from model_interface import batch_check
from model_interface.batch_check import changed_examples, check_batch
from model_interface.files import Upload


def test_images_change_their_pixels_and_their_size():
    example = Upload.from_file("french_bulldog.jpg")
    changed = list(changed_examples(example, "image/*"))
    sizes = [Image.open(io.BytesIO(each.data)).size for each in changed]
    assert sizes == [(640, 427), (427, 427)]
    assert {each.media_type for each in changed} == {"image/png"}


def test_texts_change_their_order_and_their_length():
    changed = changed_examples(Upload(b"one two", "text/plain"), "text/plain")
    assert [each.data for each in changed] == [b"two one", b"one two one two"]


def test_example_in_an_unknown_format_is_not_changed():
    assert list(changed_examples(Upload(b"no image"), "image/*")) == []


def test_images_are_close_within_one_percent():
    grey, brighter = (Image.new("RGB", (9, 9), (99 + more,) * 3) for more in (0, 30))
    almost = grey.copy()
    almost.putpixel((4, 4), (100, 99, 99))
    assert batch_check.is_close(grey, almost)
    assert not batch_check.is_close(grey, brighter)
    assert not batch_check.is_close(grey, grey.resize((9, 8)))
    assert batch_check.shorten(grey) == "an image of 9 x 9"


def test_numbers_may_be_keys_of_an_answer():
    one = {"scores": {0: 0.901, 1: 0.099}}
    assert batch_check.is_close(one, {"scores": {0: 0.9, 1: 0.1}})
    assert not batch_check.is_close(one, {"scores": {0: 0.5, 1: 0.5}})


def test_answer_is_shortened_to_200_characters_as_it_is():
    assert batch_check.shorten({"caption": "\u72ac"}) == '{"caption": "\u72ac"}'
    assert batch_check.shorten("x" * 198) == repr("x" * 198)
    assert len(batch_check.shorten("x" * 199)) == 203


@pytest.mark.parametrize("answers", [["b", "a"], ["b", "c", "a"], ["a", "c", "b"]])
def test_permuted_answers_are_in_the_wrong_order(answers):
    problem = check_batch(answers, ["a", "b", "c"][: len(answers)])
    assert "wrong order: output " in str(problem) and not problem.is_harmless


@pytest.mark.parametrize("answers", [["b", "b"], ["a", "a"], ["c", "b"]])
def test_answer_that_changes_in_a_batch_depends_on_it(answers):
    problem = check_batch(answers, ["a", "b"])
    assert re.search("alone '.', in a batch of 2 '.'", str(problem))
    assert problem.is_harmless


def test_answers_as_alone_are_accepted():
    assert check_batch(["a", "b"], ["a", "b"]) is None
    ours, alone = {"score": 0.501, "total_time": 3}, {"score": 0.5, "total_time": 1}
    assert check_batch([ours], [alone]) is None
