import runpy
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path

import pytest

from endpoint import create_app
from tests.support.apps import FAKE_MODEL, http_server, ready
from tests.support.server import ROOT


@pytest.fixture(scope="session", autouse=True)
def cpu():
    """Run on the CPU, also on a machine with a GPU."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ENDPOINT_DEVICE", "cpu")
        yield


@pytest.fixture
def gunicorn(monkeypatch):
    """Return what gunicorn.conf.py sets; its environment lasts for one test."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    settings = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    yield settings
    settings["on_exit"](None)


@pytest.fixture
def model_file(tmp_path, monkeypatch):
    """Return a function that writes a model file, to be imported by its name."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / f"model_{tmp_path.name}.py"

    def write(source: str) -> Path:
        path.write_text(textwrap.dedent(source))
        return path

    yield write
    sys.modules.pop(path.stem, None)


@pytest.fixture
def serve():
    """Return a function that serves a WSGI application and returns its URL."""
    with ExitStack() as servers:
        yield lambda app: servers.enter_context(http_server(app))


@pytest.fixture(scope="session")
def app(cpu):
    return ready(create_app(FAKE_MODEL))


@pytest.fixture
def client(app):
    return app.test_client()
