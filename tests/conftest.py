import io
import time

import pytest
from PIL import Image

from endpoint import create_app


def picture(width=64, height=48, kind="PNG", mode="RGB", **options) -> bytes:
    """Return an image file made in memory."""
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind, **options)
    return file.getvalue()


def upload(*pictures: bytes, field: str = "file") -> dict:
    """Return a form of files, as Flask's test client takes it."""
    return {"data": {field: [(io.BytesIO(data), "picture") for data in pictures]}}


def ready(app):
    """Wait until an app's model is loaded."""
    until = time.monotonic() + 10
    while app.extensions["worker"].health()[0] == "loading":
        assert time.monotonic() < until, "the model never loaded"
        time.sleep(0.005)
    return app


@pytest.fixture(scope="session")
def app():
    return ready(create_app("tests.fake"))


@pytest.fixture
def client(app):
    return app.test_client()
