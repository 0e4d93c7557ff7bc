"""How a picture leaves: as PNG, inside JSON, on the page."""

import base64
import io
import re
import sys
from types import ModuleType

import pytest
from PIL import Image

from endpoint import create_app
from endpoint.decoders.image import decode_image
from tests.support.apps import ready
from tests.support.images import make_form as upload
from tests.support.images import make_image as picture

BROWSER = {"Accept": "text/html,application/xhtml+xml,image/apng,*/*;q=0.8"}
DRAWN = '<img [^>]*src="data:image/png;base64,[^"]+"'
JSON, PNG = {"Accept": "application/json"}, {"Accept": "image/png"}


class Negative:
    """A picture in, its negative out."""

    def __init__(self, device):
        pass

    def decode(self, upload):
        return decode_image(upload)

    def predict(self, images):
        return [image.point(lambda value: 255 - value) for image in images]

    def encode(self, image):
        return image


class Drawing(Negative):
    """Tell a size, and draw on request."""

    drawn = 0

    def encode(self, image):
        return {"width": image.width}

    def draw(self, image):
        self.drawn += 1
        return image


def serve(model):
    module = sys.modules["tests.served"] = ModuleType("tests.served")
    module.Model = model
    return ready(create_app("tests.served"))


@pytest.fixture(scope="module")
def negative():
    return serve(Negative).test_client()


@pytest.fixture
def drawing():
    return serve(Drawing).test_client()


def opened(data: bytes | str) -> Image.Image:
    """Open a PNG, or a data: URI of one."""
    if isinstance(data, str):
        start, _, text = data.partition(",")
        assert start == "data:image/png;base64"
        data = base64.b64decode(text)
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("accept", ["*/*", "image/png", "image/*", "application/pdf"])
def test_picture_leaves_as_png(negative, accept):
    answer = negative.post("/", headers={"Accept": accept}, **upload(picture()))
    assert answer.mimetype == "image/png"
    assert opened(answer.data).getpixel((0, 0)) == (255, 255, 255)


def test_picture_in_json_is_a_data_uri(negative):
    answer = negative.post("/", headers=JSON, **upload(picture(5, 6)))
    assert opened(answer.json["image"]).size == (5, 6)


def test_several_pictures_leave_in_one_json(negative):
    for headers in ({}, PNG, JSON):
        files = upload(picture(5, 6), b"text", picture(7, 8))
        first, bad, last = negative.post("/", headers=headers, **files).json[
            "predictions"
        ]
        assert opened(first["image"]).size == (5, 6)
        assert bad["error"]["status"] == 415
        assert opened(last["image"]).size == (7, 8)


def test_page_holds_the_picture(negative):
    answer = negative.post("/", headers=BROWSER, **upload(picture()))
    assert answer.mimetype == "text/html"
    assert re.search(DRAWN, answer.text)


def test_values_are_drawn_for_who_asks(drawing):
    answer = drawing.post("/", headers=PNG, **upload(picture(5, 6)))
    assert opened(answer.data).size == (5, 6)
    assert drawing.post("/", **upload(picture(5, 6))).text == "5\n"
    assert drawing.post("/", headers=JSON, **upload(picture())).json == {"width": 64}
    assert drawing.application.extensions["batcher"].model.drawn == 1


def test_page_shows_values_and_drawing(drawing):
    text = drawing.post("/", headers=BROWSER, **upload(picture(57, 6))).text
    assert "57" in re.sub(DRAWN, "", text) and re.search(DRAWN, text)


def test_model_that_draws_nothing_keeps_to_its_values(client):
    answer = client.post("/", headers=PNG, **upload(picture()))
    assert (answer.mimetype, answer.text) == ("text/plain", "64 by 48\n")


def test_picture_that_is_refused_is_a_problem_for_all(negative):
    answer = negative.post("/", headers=PNG, data=b"text")
    assert (answer.status_code, answer.mimetype) == (415, "application/problem+json")
