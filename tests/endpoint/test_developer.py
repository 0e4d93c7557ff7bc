"""The developer's day: reloads that work, errors at one's own line, readable logs."""

import json
import re
import time

import pytest

from tests.support import fake_model as fake
from tests.support.images import make_image as picture
from tests.support.server import Server

MODEL = """
    from endpoint.decoders.image import decode_image

    class Model:
        def __init__(self, device):
            self.word = "first"

        def decode(self, upload):
            return decode_image(upload)

        def predict(self, images):
            return [self.word for _ in images]

        def encode(self, word):
            return {"word": word}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(picture(8, 8))
    return path


@pytest.fixture
def debugging(model_file):
    """Start `flask --debug run` with a model file."""

    def start(path):
        folder = path.parent
        return Server(
            "flask", "--debug", "run", ENDPOINT_MODULE=path.stem, PYTHONPATH=folder
        )

    return start


def wait_for(server, text):
    until = time.monotonic() + 30
    while text not in server.log:
        assert time.monotonic() < until, server.log
        time.sleep(0.1)


def test_change_of_the_model_file_reloads_it_once(model_file, debugging, file):
    path = model_file(MODEL)
    with debugging(path) as server:
        server.wait_for(200)
        assert server.curl("-T", file, "/predict") == "first\n"
        assert server.log.count("Serving") == 2  # Flask has its own line.
        path.write_text(path.read_text().replace("first", "second word"))
        wait_for(server, "Detected change")
        server.wait_for(200)
        assert server.curl("-T", file, "/predict") == "second word\n"
        assert server.log.count(f"Serving {path.stem}") == 2


def test_broken_model_file_is_mended_without_a_new_start(model_file, debugging, file):
    path = model_file(MODEL.replace("class Model:", "class Model"))
    with debugging(path) as server:
        server.wait_for(503)
        assert f'File "{path}", line 4' in server.log and "SyntaxError" in server.log
        assert server.log.count("  File ") == 1
        model_file(MODEL)
        server.wait_for(200)
        assert server.curl("-T", file, "/predict") == "first\n"


FAULTS = {"predict": "[self.word for _ in images]", "encode": '{"word": word}'}


@pytest.mark.parametrize("where", [*FAULTS, "decode", "__init__"])
def test_traceback_begins_at_the_users_line(model_file, debugging, file, where):
    faults = FAULTS | {"decode": "decode_image(upload)", "__init__": '"first"'}
    path = model_file(MODEL.replace(faults[where], "{}['key of mine']"))
    with debugging(path) as server:
        server.wait_for(503 if where == "__init__" else 200)
        server.curl("-T", file, "/predict")
        trace = server.log[server.log.index("Traceback") :].splitlines()
        assert f'"{path}"' in trace[1] and trace[1].endswith(f"in {where}")
        assert "key of mine" in trace[2]
        assert sum(line.startswith("  File ") for line in trace) == 1


LINE = (
    r'\[INFO\] 127.0.0.1 "PUT /predict" 200, (\d+) bytes in, (\d+) out, [\d.]+ ms '
    r"\(decode [\d.]+, queue [\d.]+, predict [\d.]+, batch 1\) id-1$"
)


@pytest.mark.parametrize("command", [["gunicorn"], ["flask", "run"]])
def test_request_is_one_readable_line(command, file):
    with Server(*command, ENDPOINT_MODULE="tests.support.fake_model") as server:
        server.wait_for(200)
        server.curl("-T", file, "-H", "X-Request-Id: id-1", "/predict")
        (line,) = [line for line in server.log.splitlines() if "PUT" in line]
        received, sent = map(int, re.search(LINE, line).groups())
        assert (received, sent) == (file.stat().st_size, len("8 by 8\n"))
        assert "Serving fake@1 on cpu." in server.log
        assert "/ping" not in server.log  # Probes would drown the rest.


def test_every_line_of_gunicorn_is_json_where_that_is_wanted(file):
    environment = {
        "ENDPOINT_MODULE": "tests.support.fake_model",
        "ENDPOINT_LOG": "json",
    }
    with Server("gunicorn", **environment) as server:
        server.wait_for(200)
        server.curl("-T", file, "-H", "X-Request-Id: id-1", "/predict")
        file.write_bytes(picture(fake.FAILS, 8))
        server.curl("-T", file, "/predict%0A%7B%7D")
        server.curl("-T", file, "/predict")
        lines = [json.loads(line) for line in server.log.splitlines()]
    first, strange, failed = [line for line in lines if line.get("method") == "PUT"]
    assert (first["id"], first["status"], first["batch"]) == ("id-1", 200, 1)
    assert {"received", "sent", "ms", "decode_ms", "predict_ms", "client"} <= set(first)
    assert (strange["path"], failed["status"]) == ("/predict\n{}", 500)
    (trace,) = [line["traceback"] for line in lines if "traceback" in line]
    assert "secret of the model" in trace and trace.count("  File ") == 1
