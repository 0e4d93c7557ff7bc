"""A developer's day: reloads that work, whole tracebacks, readable logs."""

import json
import re
import time

import pytest

from endpoint.batcher import DRAIN_SECONDS
from tests.support import fake_model as fake
from tests.support.apps import FAKE_MODEL
from tests.support.images import make_image
from tests.support.server import Server

MODEL = """
    from model_helpers.image import decode_image

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
    path = tmp_path / "image.png"
    path.write_bytes(make_image(8, 8))
    return path


@pytest.fixture
def debug_server():
    """Return a function that starts `flask --debug run` with a model file."""

    def start(path):
        environment = {"ENDPOINT_MODULE": path.stem, "PYTHONPATH": path.parent}
        return Server("flask", "--debug", "run", **environment)

    return start


def test_changed_model_file_is_reloaded_once(model_file, debug_server, file):
    path = model_file(MODEL)
    with debug_server(path) as server:
        server.wait_for(200)
        assert server.curl("-T", file, "/predict") == "first\n"
        assert server.log.count("Serving") == 2  # Flask prints the word too.
        path.write_text(path.read_text().replace("first", "second word"))
        server.wait_for_log("Detected change")
        server.wait_for(200)
        assert server.curl("-T", file, "/predict") == "second word\n"
        assert server.log.count(f"Serving {path.stem}") == 2


def test_broken_model_file_can_be_fixed_without_a_restart(
    model_file, debug_server, file
):
    path = model_file(MODEL.replace("class Model:", "class Model"))
    with debug_server(path) as server:
        server.wait_for(503)
        assert f'File "{path}", line 4' in server.log and "SyntaxError" in server.log
        model_file(MODEL)
        server.wait_for(200)
        assert server.curl("-T", file, "/predict") == "first\n"


MISTAKES = {
    "__init__": '"first"',
    "decode": "decode_image(upload)",
    "predict": "[self.word for _ in images]",
    "encode": '{"word": word}',
}


@pytest.mark.parametrize("method", MISTAKES)
def test_traceback_ends_at_the_line_of_the_mistake(
    model_file, debug_server, file, method
):
    source = MODEL.replace(MISTAKES[method], "{}['my key']")
    path = model_file(source)
    with debug_server(path) as server:
        server.wait_for(503 if method == "__init__" else 200)
        server.curl("-T", file, "/predict")
        server.wait_for_log("KeyError: 'my key'")
        trace = server.log[server.log.index("Traceback") :]
    line = source.splitlines().index(
        next(each for each in source.splitlines() if "my key" in each)
    )
    assert f'File "{path}", line {line + 1}, in {method}\n' in trace
    places = re.findall(r'^  File "(.+)", line', trace.partition("KeyError")[0], re.M)
    assert places[-1] == str(path)


LINE = (
    r'\[INFO\] 127.0.0.1 "PUT /predict" 200, (\d+) bytes in, (\d+) out, [\d.]+ ms '
    r"\(decode [\d.]+, queue [\d.]+, predict [\d.]+, batch 1\) id-1$"
)


@pytest.mark.parametrize("command", [["gunicorn"], ["flask", "run"]])
def test_request_is_logged_in_one_readable_line(command, file):
    with Server(*command, ENDPOINT_MODULE=FAKE_MODEL) as server:
        server.wait_for(200)
        server.curl("-T", file, "-H", "X-Request-Id: id-1", "/predict")
        (line,) = [line for line in server.log.splitlines() if "PUT" in line]
        received, sent = map(int, re.search(LINE, line).groups())
        assert (received, sent) == (file.stat().st_size, len("8 by 8\n"))
        assert "Serving fake@1 on cpu." in server.log
        assert "/ping" not in server.log  # Probes would hide the rest.


def test_every_line_of_gunicorn_is_json_on_request(file):
    settings = {"ENDPOINT_MODULE": FAKE_MODEL, "ENDPOINT_LOG": "json"}
    with Server("gunicorn", **settings) as server:
        server.wait_for(200)
        server.curl("-T", file, "-H", "X-Request-Id: id-1", "/predict")
        file.write_bytes(make_image(fake.FAILS, 8))
        server.curl("-T", file, "/predict%0A%7B%7D")
        server.curl("-T", file, "/predict")
        lines = [json.loads(line) for line in server.log.splitlines()]
    first, strange, failed = [line for line in lines if line.get("method") == "PUT"]
    assert (first["id"], first["status"], first["batch"]) == ("id-1", 200, 1)
    assert {"received", "sent", "ms", "decode_ms", "predict_ms", "client"} <= set(first)
    assert (strange["path"], failed["status"]) == ("/predict\n{}", 500)
    (trace,) = [line["traceback"] for line in lines if "traceback" in line]
    assert "secret of the model" in trace and fake.__file__ in trace


def test_debug_server_loads_the_model_once():
    with Server("flask", "--debug", "run", ENDPOINT_MODULE=FAKE_MODEL) as server:
        server.wait_for(200)
        server.wait_for_log("Debugger is active")  # The reloader's child has started.
        assert server.log.count("Serving fake") == 1


def test_debug_server_survives_a_model_that_cannot_load():
    with Server("flask", "--debug", "run", ENDPOINT_MODULE="tests.nothing") as server:
        server.wait_for(503)
        server.wait_for_log("No module named 'tests.nothing'")
        time.sleep(DRAIN_SECONDS + 1)  # Without --debug, it would end in this time.
        assert server.ping() == 503


def test_other_flask_commands_load_no_model():
    with Server("flask", "routes", ENDPOINT_MODULE=FAKE_MODEL) as server:
        assert server.process.wait(60) == 0
        assert "/predict" in server.log and "Serving" not in server.log
