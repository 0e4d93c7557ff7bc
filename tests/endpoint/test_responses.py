"""Outputs and errors as text, JSON, PNG and the page."""

import base64
import gc
import html
import io
import json
import re
import weakref

import pytest
from PIL import Image
from werkzeug.exceptions import BadRequest, HTTPException, NotFound

from endpoint import job_queue, responses
from model_helpers.image import decode_image
from model_interface.answers import to_answer
from model_interface.files import File
from tests.support.apps import app_for, ready
from tests.support.images import make_form, make_image

BROWSER = {"Accept": "text/html,application/xhtml+xml,image/apng,*/*;q=0.8"}
DRAWING = '<img [^>]*src="data:image/png;base64,[^"]+"'
JSON, PNG = {"Accept": "application/json"}, {"Accept": "image/png"}


class Negative:
    """A model that answers an image with its negative."""

    def __init__(self, device):
        pass

    def decode(self, upload):
        return decode_image(upload)

    def predict(self, images):
        return [image.point(lambda value: 255 - value) for image in images]

    def encode(self, image):
        return image


class Drawing(Negative):
    """A model that answers with a width, and draws on request."""

    drawn = 0

    def encode(self, image):
        return {"width": image.width}

    def draw(self, image):
        self.drawn += 1
        return image


@pytest.fixture(scope="module")
def negative():
    return ready(app_for(Negative)).test_client()


@pytest.fixture
def drawing():
    return ready(app_for(Drawing)).test_client()


def read_image(data: bytes | str) -> Image.Image:
    """Open a PNG, or a data: URI of one."""
    if isinstance(data, str):
        start, _, text = data.partition(",")
        assert start == "data:image/png;base64"
        data = base64.b64decode(text)
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("accept", ["*/*", "image/png", "image/*", "application/pdf"])
def test_image_is_sent_as_png(negative, accept):
    headers = {"Accept": accept}
    response = negative.post("/", headers=headers, **make_form(make_image()))
    assert response.mimetype == "image/png"
    assert read_image(response.data).getpixel((0, 0)) == (255, 255, 255)


def test_image_in_json_is_a_data_uri(negative):
    response = negative.post("/", headers=JSON, **make_form(make_image(5, 6)))
    assert read_image(response.json["image"]).size == (5, 6)


@pytest.mark.parametrize("headers", [{}, PNG, JSON])
def test_several_images_are_sent_in_one_json(negative, headers):
    files = make_form(make_image(5, 6), b"text", make_image(7, 8))
    response = negative.post("/", headers=headers, **files)
    first, bad, last = response.json["predictions"]
    assert read_image(first["image"]).size == (5, 6)
    assert bad["error"]["status"] == 415
    assert read_image(last["image"]).size == (7, 8)


def test_page_shows_the_image(negative):
    response = negative.post("/", headers=BROWSER, **make_form(make_image()))
    assert response.mimetype == "text/html"
    assert re.search(DRAWING, response.text)


def test_answer_is_drawn_only_on_request(drawing):
    response = drawing.post("/", headers=PNG, **make_form(make_image(5, 6)))
    assert read_image(response.data).size == (5, 6)
    assert drawing.post("/", **make_form(make_image(5, 6))).text == "5\n"
    form = make_form(make_image())
    assert drawing.post("/", headers=JSON, **form).json == {"width": 64}
    assert drawing.application.extensions["batcher"].model.drawn == 1


def test_page_shows_values_and_drawing(drawing):
    text = drawing.post("/", headers=BROWSER, **make_form(make_image(57, 6))).text
    assert "57" in re.sub(DRAWING, "", text) and re.search(DRAWING, text)


def test_model_that_draws_nothing_answers_with_its_values(client):
    response = client.post("/", headers=PNG, **make_form(make_image()))
    assert (response.mimetype, response.text) == ("text/plain", "64 by 48\n")


def test_refused_image_is_a_problem_for_every_client(negative):
    response = negative.post("/", headers=PNG, data=b"text")
    assert response.status_code == 415
    assert response.mimetype == "application/problem+json"


@pytest.mark.parametrize(
    "error, status, detail",
    [
        (BadRequest("Send one."), 400, "Send one."),
        (BadRequest(), 400, "The request is malformed."),
        (job_queue.NotReady("It loads", 7), 503, "It loads: retry in 7 s."),
        (job_queue.QueueFull("It is full", 9), 503, "It is full: retry in 9 s."),
        (job_queue.PredictionFailed(), 500, "The model failed on this input."),
        (job_queue.DeadlineExceeded(), 504, "The deadline passed: retry later."),
        (job_queue.ClientDisconnected(), 499, "The client disconnected."),
        (MemoryError(), 503, "The server is out of memory: retry in 5 s."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_status_and_sentence(app, error, status, detail):
    with app.app_context():
        http_error = responses.to_http_error(error)
    body = responses.problem_body(http_error)
    assert (body["status"], body["detail"]) == (status, detail)


def test_busy_server_says_when_to_retry(app):
    with app.test_request_context():
        for error in (job_queue.NotReady("It loads", 7), MemoryError()):
            response = responses.error_response(error)
            assert response.headers["Retry-After"] in ("7", "5")


def test_unexpected_error_is_logged_and_not_shown(app, caplog):
    with app.app_context():
        error = responses.to_http_error(LookupError("secret"))
    assert "secret" in caplog.text
    body = responses.problem_body(error)
    assert body["status"] == 500 and "secret" not in body["detail"]


def test_errors_of_werkzeug_get_sentences_for_users(app):
    detail = responses.problem_body(NotFound())["detail"]
    assert detail == "Not found: POST to /, or GET / to see what is served."


@pytest.mark.attack(1)
def test_error_does_not_keep_the_upload_in_memory(app):
    class Pixels:
        pass

    def refuse() -> tuple[HTTPException, weakref.ref]:
        pixels = Pixels()
        try:
            raise BadRequest("Send another.")
        except BadRequest as error:
            return error, weakref.ref(pixels)

    error, pixels = refuse()
    with app.app_context():
        kept = responses.to_http_error(error)
    gc.collect()
    assert kept.__traceback__ is None and pixels() is None


def test_policy_allows_only_the_pages_own_script_and_style(client):
    response = client.get("/", headers={"Accept": "text/html"})
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy and "http" not in policy
    assert not re.search(r"<script>|<style|\bon\w+=|\bstyle=", response.text)


class Odd(Negative):
    """A model whose answers hold what JSON lacks, and a value named error."""

    def encode(self, image):
        nan, infinity = float("nan"), float("inf")
        return {"error": nan, "scores": {"a": -infinity, "b": [infinity, 1]}, "n": 2}


@pytest.fixture(scope="module")
def odd():
    return ready(app_for(Odd)).test_client()


ODD_ANSWER = {"error": None, "scores": {"a": None, "b": [None, 1]}, "n": 2}


def strict(text: str):
    """Read JSON that holds no NaN and no infinity."""

    def refuse(name):
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.attack(15)
def test_nan_and_infinity_are_null_in_json(odd):
    one = odd.post("/", headers=JSON, **make_form(make_image()))
    assert strict(one.text) == ODD_ANSWER
    two = odd.post("/", headers=JSON, **make_form(make_image(), make_image()))
    assert strict(two.text) == {"predictions": [ODD_ANSWER] * 2}
    # The start refuses such an example, but a later answer to it may be odd.
    odd.application.extensions["batcher"].example_output = make_image()
    document = odd.get("/openapi.json").text
    assert "null" in document and strict(document)


@pytest.mark.attack(15)
def test_nan_and_infinity_are_null_on_the_page(odd):
    page = odd.post("/", headers=BROWSER, **make_form(make_image())).text
    assert strict(html.unescape(re.search("data-item='(.*?)'", page)[1])) == ODD_ANSWER
    assert "None" not in page and 'class="answer error"' not in page


@pytest.mark.attack(15)
def test_quote_does_not_end_an_attribute_of_the_page(app):
    answer = {"words": [{"word": "a", "map": [["' onclick='"]]}]}
    with app.test_request_context():
        page = responses.render_page([answer])
    [attribute] = re.findall("data-map='(.*?)'>", page)
    assert json.loads(html.unescape(attribute)) == answer["words"][0]["map"]


@pytest.mark.attack(15)
def test_answer_named_error_is_an_answer_in_every_format(odd):
    for headers in ({}, JSON, BROWSER, PNG):
        response = odd.post("/", headers=headers, **make_form(make_image()))
        assert response.status_code == 200
    assert odd.post("/", **make_form(make_image())).text == "nan\n"


class Speech(Negative):
    """A model that answers with sound and a plot, and with an image that it draws."""

    def encode(self, image):
        return {"speech": File(b"RIFF", "audio/wav"), "image": image, "more": image}

    def draw(self, image):
        return image


def test_first_file_of_an_answer_is_sent():
    speech = ready(app_for(Speech)).test_client()
    response = speech.post("/", **make_form(make_image()))
    assert (response.mimetype, response.data) == ("audio/wav", b"RIFF")


def test_drawing_does_not_replace_an_image_of_the_answer():
    speech = ready(app_for(Speech)).test_client()
    page = speech.post("/", headers=BROWSER, **make_form(make_image())).text
    assert len(re.findall(DRAWING, page)) == 3


IMAGE = Image.new("RGB", (2, 2))


@pytest.mark.parametrize(
    "encoded, accept, start",
    [
        ({"label": "a dog"}, "*/*", "a dog\n"),
        ({"score": 0.5}, "*/*", "0.5\n"),
        ({"label": None}, "*/*", "null\n"),
        ({"names": {"\u72ac": None}}, "*/*", '{"\u72ac": null}\n'),
        ([IMAGE, IMAGE], "*/*", '["data:image/png;base64,'),
        (IMAGE, "text/plain", '"data:image/png;base64,'),
        (File(b"a,b", "text/plain"), "*/*", "a,b"),
        ({"label": "a dog", "table": File(b"a,b", "text/plain")}, "*/*", "a dog\n"),
        (File(b"a,b", "text/csv"), "text/plain", '"data:text/csv;base64,'),
    ],
)
def test_every_value_has_a_text(app, encoded, accept, start):
    with app.test_request_context(headers={"Accept": accept}):
        response = responses.respond([to_answer(encoded)])
    text = response.get_data(as_text=True)
    assert response.mimetype == "text/plain" and text.startswith(start)
