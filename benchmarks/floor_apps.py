"""The least that a server can do: WSGI applications, and a model that sleeps."""

import time
from typing import Any

import flask

from model_interface.files import Upload

SECONDS_PER_INPUT = 0.0005
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "7")]


def noop(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer without reading the request's body."""
    start_response("200 OK", HEADERS)
    return [b"asleep\n"]


def read_upload(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Read the request's body and answer."""
    environ["wsgi.input"].read()
    return noop(environ, start_response)


flask_app = flask.Flask(__name__)


@flask_app.post("/")
def read_with_flask() -> flask.Response:
    flask.request.get_data()
    return flask.Response("asleep\n", mimetype="text/plain")


class Model:
    """Decode nothing and sleep as long as a fast GPU would compute."""

    def __init__(self, device: str) -> None:
        pass

    def decode(self, upload: Upload) -> int:
        return len(upload.data)

    def predict(self, sizes: list[int]) -> list[str]:
        time.sleep(SECONDS_PER_INPUT * len(sizes))
        return ["asleep"] * len(sizes)

    def encode(self, output: str) -> dict[str, str]:
        return {"caption": output}
