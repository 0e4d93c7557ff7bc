"""Requests to uploads: every way to send a file, limits, and refusals."""

import base64
import io
from pathlib import Path

import pytest
from pydantic import BaseModel
from werkzeug.test import EnvironBuilder

from model_interface.files import Upload, guess_media_type
from model_interface.model_info import usage
from tests.support.images import BULLDOG, make_image
from tests.support.uploads import LimitedRequest, parse, parse_environ, refusal

IMAGE = make_image(kind="JPEG")
BASE64 = base64.b64encode(IMAGE).decode()


class Several(BaseModel):
    a: int = 0
    b: int = 0
    labels: list[str] = []


class Masked(BaseModel):
    mask: Upload | None = None


FORM = "multipart/form-data"
JSON = "application/json"
URLENCODED = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "sent",
    (
        {"data": IMAGE},
        {"data": IMAGE, "content_type": "image/jpeg"},
        {"data": IMAGE, "content_type": URLENCODED},
        {"data": {"file": (io.BytesIO(IMAGE), "x.jpg")}},
        {"data": {"image": (io.BytesIO(IMAGE), "../x")}},
        {"json": {"image": BASE64}},
        {"json": {"file": f"data:image/jpeg;base64,{BASE64}"}},
        {"json": {"image": f"{BASE64[:60]}\r\n{BASE64[60:]}\n"}},
    ),
    ids=lambda value: str(value)[:60],
)
def test_every_way_of_sending_gives_the_same_bytes(sent):
    (upload,) = parse(**sent)
    assert upload.data == IMAGE


def test_files_keep_their_order():
    names = [b"one", b"two", b"three"]
    files = [(io.BytesIO(name), "x.jpg") for name in names]
    assert [upload.data for upload in parse(data={"file": files})] == names


@pytest.mark.attack(14)
def test_other_values_become_fields():
    form = {"b": "2", "file": (io.BytesIO(b"."), "x")}
    (upload,) = parse(fields=Several, query_string="a=1", data=form)
    assert (upload.fields.a, upload.fields.b) == (1, 2)
    body = {"image": BASE64, "labels": ["x", "y"]}
    (upload,) = parse(fields=Several, query_string="a=1", json=body)
    assert (upload.fields.a, upload.fields.labels) == (1, ["x", "y"])
    (upload,) = parse(fields=Several, query_string="a=1", data=IMAGE)
    assert upload.fields.a == 1


def test_other_values_become_fields_of_a_text():
    body = {"text": "word", "b": 2}
    (upload,) = parse("text/plain", Several, query_string="a=3", json=body)
    assert (upload.data, upload.fields) == (b"word", Several(a=3, b=2))
    for data in ("text=word&b=2", "b=2&text=word"):
        form = {"data": data, "content_type": URLENCODED}
        (upload,) = parse("text/plain", Several, query_string="a=3", **form)
        assert (upload.data, upload.fields) == (b"word", Several(a=3, b=2))


@pytest.mark.parametrize(
    "text", ["a=3", "Q&A", "see &text=1", "a b=1&text=2", "&text="]
)
def test_text_that_is_no_form_is_taken_whole(text):
    (upload,) = parse("text/plain", Several, data=text, content_type=URLENCODED)
    assert upload.data == text.encode()


@pytest.mark.parametrize("kind", ["text", "image"])
def test_list_in_json_is_several_uploads(kind):
    sent = ["one", "two"]
    if kind == "image":
        sent = [base64.b64encode(each.encode()).decode() for each in sent]
    uploads = parse(f"{kind}/*", json={kind: sent})
    assert [upload.data for upload in uploads] == [b"one", b"two"]
    status, sentence = refusal(parse, f"{kind}/*", json={kind: sent * 6})
    assert (status, "at most 10 inputs" in sentence) == (413, True)
    assert refusal(parse, f"{kind}/*", json={kind: ["b25l", 5]})[0] == 400


def test_file_of_a_field_is_no_upload_of_its_own():
    files = {"image": (io.BytesIO(IMAGE), "x"), "mask": (io.BytesIO(b"mask"), "m.png")}
    (upload,) = parse(fields=Masked, data=files)
    assert upload.data == IMAGE
    assert upload.fields.mask == Upload(b"mask", "image/png")
    body = {"image": BASE64, "mask": base64.b64encode(b"mask").decode()}
    (upload,) = parse(fields=Masked, json=body)
    assert upload.fields.mask.data == b"mask"
    (upload,) = parse(fields=Masked, data=IMAGE)
    assert upload.fields.mask is None
    status, sentence = refusal(parse, fields=Masked, json=body | {"mask": "?"})
    assert (status, sentence[:26]) == (400, "mask is not valid base64, ")
    status, sentence = refusal(parse, fields=Masked, json=body | {"mask": ["QUJD"]})
    assert (status, sentence) == (400, "mask is not a string.")


def test_media_type_is_the_one_that_was_sent():
    (upload,) = parse(data={"file": (io.BytesIO(b"."), "x", "audio/wav")})
    assert upload.media_type == "audio/wav"
    (upload,) = parse(json={"image": BASE64})
    assert upload.media_type == "application/octet-stream"
    (upload,) = parse(json={"image": f"data:image/webp;base64,{BASE64}"})
    assert upload.media_type == "image/webp"


def test_audio_is_sent_like_an_image():
    (upload,) = parse("audio/*", json={"audio": BASE64})
    assert upload.data == IMAGE
    (upload,) = parse("audio/*", data={"file": (io.BytesIO(b"RIFF"), "x.wav")})
    assert upload.data == b"RIFF"
    status, sentence = refusal(parse, "audio/*", json={"image": BASE64})
    assert (status, '{"audio": "<base64>"}' in sentence) == (400, True)
    form = {"data": {"file": "x"}, "content_type": FORM}
    assert "@audio.wav" in refusal(parse, "audio/*", **form)[1]


CURL = "curl -F file=@image.jpg"


@pytest.mark.parametrize(
    "sent, advice",
    (
        ({"data": b""}, CURL),
        ({"data": {"note": "hello"}, "content_type": FORM}, CURL),
        ({"data": {"file": "x.jpg"}, "content_type": FORM}, "an @ is missing"),
        ({"json": [BASE64]}, '{"image": "<base64>"}'),
        ({"json": {"image": 5}}, '"image" is not a string. Send a file'),
        ({"json": {"image": "not base64!"}}, "base64"),
        ({"json": {"image": "data:image/svg+xml,<svg/>"}}, "data: URI"),
    ),
    ids=lambda value: str(value)[:60],
)
def test_request_without_an_image_is_refused_with_what_to_send(sent, advice):
    status, sentence = refusal(parse, **sent)
    assert status == 400 and advice in sentence


@pytest.mark.parametrize("body", (b"[" * 50_000, b"{", b'{"a": ' + b"9" * 5000 + b"}"))
def test_unreadable_json_is_refused(body):
    status, sentence = refusal(parse, data=body, content_type=JSON)
    assert (status, sentence) == (400, f"The JSON is malformed. {usage('image/*')}")


@pytest.mark.attack(10)
def test_json_with_thousands_of_values_is_not_parsed(monkeypatch):
    monkeypatch.setattr(LimitedRequest, "get_json", None)
    flood = b'{"image": [' + b"0," * 20_000 + b"0]}"
    status, sentence = refusal(parse, data=flood, content_type=JSON)
    assert status == 413 and "at most 10,000 commas" in sentence


def test_body_over_the_limit_is_refused_with_and_without_a_declared_length():
    body = {"data": bytes(100_001), "content_type": "image/jpeg"}
    environ = EnvironBuilder(method="POST", **body).get_environ()
    assert refusal(parse_environ, environ)[0] == 413
    del environ["CONTENT_LENGTH"]
    environ |= {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    status, sentence = refusal(parse_environ, environ)
    assert (status, "100,000 bytes" in sentence) == (413, True)


def test_body_of_exactly_the_limit_is_accepted():
    (upload,) = parse(data=bytes(100_000), content_type="image/jpeg")
    assert len(upload.data) == 100_000


def test_form_with_too_many_parts_is_refused():
    files = [(io.BytesIO(b"."), "x.jpg")] * 11
    status, sentence = refusal(parse, data={"file": files})
    assert (status, "10 files" in sentence) == (413, True)


def test_form_with_too_much_text_is_refused():
    form = {"data": {"text": "a" * 50_001}, "content_type": FORM}
    status, sentence = refusal(parse, "text/plain", **form)
    assert (status, "50,000 bytes of text" in sentence) == (413, True)


@pytest.mark.parametrize("is_terminated", (False, True))
def test_truncated_body_is_refused(is_terminated):
    environ = EnvironBuilder(method="POST", data=IMAGE).get_environ()
    environ["CONTENT_LENGTH"] = str(len(IMAGE) + 1)
    if is_terminated:
        environ["wsgi.input_terminated"] = True
    assert refusal(parse_environ, environ)[0] == 400


def test_usage_is_part_of_the_refusal():
    for accepts in ("image/*", "audio/*", "text/plain"):
        assert usage(accepts) in refusal(parse, accepts, data=b"")[1]


def test_upload_is_read_from_a_file():
    upload = Upload.from_file(BULLDOG.name, top="3")
    assert upload == Upload.from_file(BULLDOG, top="3")
    assert upload.data == BULLDOG.read_bytes()
    assert (upload.media_type, upload.fields["top"]) == ("image/jpeg", "3")


@pytest.mark.parametrize(
    "name, media_type",
    [
        ("a.PNG", "image/png"),
        ("a.webp", "image/webp"),
        ("a.flac", "audio/flac"),
        ("a.txt", "text/plain"),
        ("a", "application/octet-stream"),
    ],
)
def test_media_type_is_guessed_from_the_file_name(name, media_type):
    assert guess_media_type(str(Path("folder") / name)).replace("x-", "") == media_type


def test_server_is_told_when_the_body_is_received():
    calls = []
    builder = EnvironBuilder(method="POST", data=make_image())
    environ = builder.get_environ() | {
        "endpoint.body_received": lambda: calls.append(1)
    }
    parse_environ(environ)
    assert calls == [1]


def test_base64_may_have_line_breaks():
    text = base64.encodebytes(make_image()).decode().replace("\n", "\r\n\t ")
    [upload] = parse(json={"image": text})
    assert upload.data == make_image()


@pytest.mark.parametrize("sent", [["a", "", "b"], ["", "b", "a"]])
def test_empty_text_keeps_its_position(sent):
    uploads = parse("text/plain", json={"text": sent})
    assert [upload.data.decode() for upload in uploads] == sent


def test_null_in_a_list_is_refused():
    status, sentence = refusal(parse, "text/plain", json={"file": ["a", None]})
    assert (status, sentence[:24]) == (400, '"text" is not a string. ')


def test_values_of_the_body_take_the_place_of_those_in_the_url():
    for body in ({"data": {"text": "b", "a": "2"}}, {"json": {"text": "b", "a": 2}}):
        [upload] = parse("text/plain", Several, query_string="text=a&a=1&b=3", **body)
        assert upload.data == b"b" and upload.fields == Several(a=2, b=3)
