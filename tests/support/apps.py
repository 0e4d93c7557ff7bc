"""Apps with a small model, loaded in this process."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

from flask import Flask
from werkzeug.serving import make_server

from endpoint import create_app

FAKE_MODEL = "tests.support.fake_model"


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds; a test that would hang fails instead."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.001)


def ready(app: Flask) -> Flask:
    """Load an app's model and wait until it is ready."""
    batcher = app.extensions["batcher"]
    batcher.start()
    wait_until(lambda: batcher.health()[0] != "loading")
    return app


def app_for(model: type) -> Flask:
    """Return an app that will serve a class."""
    module = sys.modules["tests.served_model"] = ModuleType("tests.served_model")
    module.Model = model
    return create_app(module.__name__)


@contextmanager
def http_server(app: Flask) -> Iterator[str]:
    """Serve a WSGI application on a free port and give its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    server.server_close()
