"""A swapped model: the server runs without all that belongs to the shipped one."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.images import make_image
from tests.support.server import ROOT, SCRIPTS, Server

DELETED = ("vit_gpt2", "tools", "demo", "benchmarks", "examples", "deploy")
MODEL = """
from endpoint.decoders.image import decode_image


class Model:
    def __init__(self, device):
        self.device = device

    def decode(self, upload):
        return decode_image(upload)

    def predict(self, images):
        return [image.size for image in images]

    def encode(self, size):
        return {"size": "%d x %d" % size}
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a copy of the repository with a model of ten lines, without weights."""
    copy = tmp_path_factory.mktemp("swapped")
    paths = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    for path in paths:
        if (ROOT / path).is_file() and path.split("/")[0] not in DELETED:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, copy / path)
    (copy / "french_bulldog.jpg").unlink()
    (copy / "endpoint" / "weights.py").unlink()
    (copy / "endpoint" / "model.py").write_text(MODEL)
    return copy


@pytest.fixture(scope="module", params=[("gunicorn",), ("flask", "run")], ids=" ".join)
def server(request, copy):
    with Server(*request.param, cwd=copy, PYTHONPATH="") as server:
        yield server.wait_for(200)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "image.png"
    path.write_bytes(make_image(30, 20))
    return path


def test_nothing_of_the_shipped_model_is_left(copy):
    names = {path.name for path in copy.iterdir()}
    assert names.isdisjoint((*DELETED, "french_bulldog.jpg"))
    assert not (copy / "endpoint" / "weights.py").exists()


def test_swapped_model_answers(server, file):
    assert server.curl("-F", f"file=@{file}", "/") == "30 x 20\n"
    assert server.curl("-T", file, "/predict") == "30 x 20\n"


def test_swapped_model_is_named_after_its_module(server):
    assert '"model":"endpoint.model"' in server.curl("/").replace(" ", "")
    assert "Serving endpoint.model on cpu." in server.log


def test_page_of_a_swapped_model_is_served(server):
    assert "<form" in server.curl("-H", "Accept: text/html", "/")
    assert "Traceback" not in server.log and "error" not in server.log.lower()


def test_flask_offers_no_command_of_the_deleted_tools(copy):
    command = [SCRIPTS / "flask", "--help"]
    output = subprocess.check_output(command, cwd=copy, text=True)
    assert "  run " in output and "  smoke " not in output
