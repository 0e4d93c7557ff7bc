"""Uploads to texts, in every way that a text can be sent."""

import io

import pytest

from model_helpers.text import decode_text
from model_interface.files import Upload
from tests.support.images import make_image
from tests.support.uploads import parse, refusal

FORM = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "sent",
    (
        {"json": {"text": " so good\n"}},
        {"data": {"text": "so good"}, "content_type": FORM},
        {"data": {"file": (io.BytesIO(b"so good"), "x.txt")}},
        {"data": b"so good\n", "content_type": "text/plain"},
        {"data": b"so good", "content_type": URLENCODED},
        {"data": b"text=so+good", "content_type": URLENCODED},
        {"data": "\ufeffso good".encode(), "content_type": "text/plain"},
    ),
    ids=str,
)
def test_every_way_of_sending_a_text_gives_the_same_text(sent):
    (upload,) = parse("text/plain", **sent)
    assert decode_text(upload) == "so good"


@pytest.mark.parametrize(
    "sent, status, part",
    (
        ({"json": {"text": " "}}, 400, '{"text": "..."}'),
        ({"json": {"text": ["a", " "]}}, 400, '{"text": "..."}'),
        ({"json": {"text": "a\ud800"}}, 415, "UTF-8"),
        ({"data": b" \n "}, 400, "The text is empty"),
        ({"data": make_image()}, 415, "UTF-8"),
        ({"data": b"a" * 10_001}, 413, "10,000 characters"),
    ),
    ids=lambda value: str(value)[:60],
)
def test_request_with_an_unusable_text_is_refused(sent, status, part):
    def decode():
        return [decode_text(upload) for upload in parse("text/*", **sent)]

    code, sentence = refusal(decode)
    assert (code, part in sentence) == (status, True)


def test_json_may_hold_several_texts():
    uploads = parse("text/plain", json={"text": ["so good", " so bad"]})
    assert [decode_text(upload) for upload in uploads] == ["so good", "so bad"]


def test_model_chooses_the_longest_text():
    upload = Upload(b"word")
    assert decode_text(upload, max_chars=4) == "word"
    assert refusal(decode_text, upload, max_chars=3)[0] == 413
