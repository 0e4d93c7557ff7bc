"""Engines of `flask predict`: a server gives the same answers as the model here."""

import json
import os
import subprocess

import pytest
from werkzeug.wrappers import Response

from endpoint import create_app
from tests.support.apps import ready
from tests.support.server import ROOT, SCRIPTS

INFO = {"state": "ready", "accepts": "image/*", "fields": {}}


def test_server_answers_like_the_model_in_this_process(
    flask, folder, serve, monkeypatch
):
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    monkeypatch.setenv("ENDPOINT_QUEUE", "1")  # The server refuses most requests first.
    url = serve(ready(create_app("tests.support.fake_model")))
    (folder / "31.png").write_bytes(b"text")
    remote = flask("predict", folder, "--url", url, "--api-key", "12345")
    assert remote == flask("predict", folder) and remote[0] == 1
    status, output, errors = flask("predict", folder, "--url", url, "--api-key", "no")
    assert (status, output) == (1, "")
    assert errors.startswith("Error: Send the API key: Authorization: Bearer KEY")
    assert len(errors.splitlines()) == 1


def test_images_are_written_as_data_uris(flask, folder, model_file):
    source = """
        from endpoint.decoders.image import decode_image

        class Model:
            def __init__(self, device): pass
            def decode(self, upload): return decode_image(upload)
            def predict(self, images): return images
            def encode(self, image): return image
    """
    app = create_app(model_file(source).stem)
    options = "predict", folder / "30.png", "--format", "jsonl"
    answer = json.loads(flask(*options, app=app)[1])
    assert answer["image"].startswith("data:image/png;base64,")


def test_server_that_loads_is_waited_for(flask, folder, serve):
    states = ["loading", "ready"]

    def app(environ, start):
        info = INFO | {"state": states.pop(0)} if states else {"caption": "a dog"}
        return Response(json.dumps(info))(environ, start)

    status, line, _ = flask("predict", folder / "30.png", "--url", serve(app))
    assert (status, states) == (0, []) and line.endswith("\ta dog\n")


@pytest.mark.parametrize("body", ["<h1>nginx</h1>", "[1]", "{}"])
def test_url_that_is_no_endpoint_is_reported(flask, folder, serve, body):
    url = serve(Response(body))
    status, _, errors = flask("predict", folder, "--url", url)
    assert status == 1 and f"No endpoint responds at {url}: The" in errors
    assert "JSON" in errors


def test_unreachable_server_is_reported(flask, folder):
    status, _, errors = flask("predict", folder, "--url", "http://127.0.0.1:9")
    assert status == 1 and "No endpoint responds at http://127.0.0.1:9" in errors


def test_response_that_is_not_json_fails_its_file_only(flask, folder, serve):
    def app(environ, start):
        body = json.dumps(INFO) if environ["PATH_INFO"] == "/" else "<h1>nginx</h1>"
        return Response(body)(environ, start)

    status, output, errors = flask("predict", folder, "--url", serve(app))
    assert (status, output) == (1, "") and "0 done, 11 failed" in errors
    assert "30.png: The server's response is not a JSON object." in errors


ERROR_ANSWER = """
    class Model:
        accepts = "text/plain"

        def __init__(self, device):
            pass

        def decode(self, upload):
            return upload.data

        def predict(self, inputs):
            return inputs

        def encode(self, output):
            return {"error": float("nan"), "n": 1}
"""


def test_answer_named_error_with_nan_is_an_answer_of_the_command(model_file, tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("hello")
    done = subprocess.run(
        [SCRIPTS / "flask", "predict", text, "--format", "jsonl"],
        env=os.environ
        | {"ENDPOINT_MODULE": model_file(ERROR_ANSWER).stem, "PYTHONPATH": tmp_path},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"input": str(text), "error": None, "n": 1}
