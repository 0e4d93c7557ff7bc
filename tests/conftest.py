import io
import runpy
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from PIL import Image
from werkzeug.serving import make_server

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
    """Load an app's model and wait until it is ready."""
    app.extensions["batcher"].start()
    until = time.monotonic() + 10
    while app.extensions["batcher"].health()[0] == "loading":
        assert time.monotonic() < until, "the model never loaded"
        time.sleep(0.005)
    return app


@pytest.fixture
def gunicorn(monkeypatch):
    """What gunicorn.conf.py sets, its environment for this test alone."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    settings = runpy.run_path(Path(__file__).parent.parent / "gunicorn.conf.py")
    yield settings
    settings["on_exit"](None)


@pytest.fixture
def model_file(tmp_path, monkeypatch):
    """Write a model file that can be imported, and return its path."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / f"model_{tmp_path.name}.py"

    def write(source: str) -> Path:
        path.write_text(textwrap.dedent(source))
        return path

    yield write
    sys.modules.pop(path.stem, None)


@pytest.fixture
def serve():
    """Serve a WSGI application over HTTP and return its address."""
    servers = []

    def start(app) -> str:
        servers.append(make_server("127.0.0.1", 0, app, threaded=True))
        threading.Thread(target=servers[-1].serve_forever).start()
        return f"http://127.0.0.1:{servers[-1].port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def app():
    return ready(create_app("tests.support.fake_model"))


@pytest.fixture
def client(app):
    return app.test_client()
