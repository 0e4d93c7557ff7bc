"""With ENDPOINT_LOG=json, every line on stdout and stderr is JSON."""

import io
import json

import pytest
from PIL import Image

from tests.support.apps import FAKE_MODEL
from tests.support.server import Server

PRINTS = """
    import os
    import sys
    import warnings

    class Model:
        def __init__(self, device):
            warnings.warn("a warning")
            print("to stdout", flush=True)
            os.write(2, b"from a library in C\\n")

        def decode(self, upload):
            return upload.data

        def predict(self, inputs):
            return inputs

        def encode(self, output):
            return {"text": "answer"}
"""


def messages(server: Server) -> list[str]:
    """Return the messages of a log in which each line is JSON."""
    entries = [json.loads(line) for line in server.log.splitlines()]
    return [entry["message"] for entry in entries if "message" in entry]


def torn_tiff() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((300, 300), 50).save(file, "TIFF", compression="tiff_lzw")
    data = bytearray(file.getvalue())
    data[5000:30_000] = b"\xff" * 25_000
    return bytes(data)


@pytest.mark.attack(16)
def test_every_line_of_a_server_is_json(tmp_path):
    broken = tmp_path / "torn.tiff"
    broken.write_bytes(torn_tiff())
    old = {"ENDPOINT_APP": FAKE_MODEL}  # renamed: it gives a warning
    with Server("gunicorn", ENDPOINT_LOG="json", **old) as server:
        server.wait_for(200).curl("-T", broken, "/predict")
        server.curl("/nothing")
        server.process.terminate()
        server.process.wait(30)
        text = " ".join(messages(server))
    assert "ENDPOINT_APP is now ENDPOINT_MODULE" in text and "Serving fake" in text
    assert "tempfile.tif: " in text  # libtiff's own line


@pytest.mark.attack(16)
def test_what_libraries_print_is_logged(model_file, tmp_path):
    settings = {"ENDPOINT_MODULE": model_file(PRINTS).stem, "PYTHONPATH": tmp_path}
    with Server("gunicorn", ENDPOINT_LOG="json", **settings) as server:
        server.wait_for(200)
        server.wait_for_log("from a library in C")
        text = "\n".join(messages(server))
    assert "UserWarning: a warning" in text and "to stdout" in text


@pytest.mark.attack(16)
@pytest.mark.parametrize(
    "setting, sentence",
    [
        ({"ENDPOINT_QUEUE": "many"}, "ENDPOINT_QUEUE must be a whole number"),
        ({"ENDPOINT_MODULE": "missing"}, "No module named 'missing'"),
        ({"ENDPOINT_DEVICE": "cuda:99"}, "ENDPOINT_DEVICE is cuda:99, but"),
        ({"ENDPOINT_DEVICE": "xyz"}, "ENDPOINT_DEVICE must be"),
    ],
)
def test_sentence_that_ends_the_start_is_json(setting, sentence):
    with Server("gunicorn", ENDPOINT_LOG="json", **setting) as server:
        assert server.process.wait(60) == 3
        assert sentence in "\n".join(messages(server))
        assert "Traceback" not in server.log
