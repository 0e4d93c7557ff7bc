"""A swapped model: the server runs without all that belongs to the shipped one."""

import shutil
import subprocess
import sys
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


# They start no server. All others are collected but not run, which would take minutes.
FAST_TESTS = (
    *("test_commands", "test_image_header", "test_jobs", "test_limits"),
    *("test_model_info", "test_openapi", "test_renamed", "test_responses"),
    *("test_settings", "test_telemetry", "test_uploads", "test_repository.py"),
)


def write_swapped(copy: Path) -> Path:
    """Copy the repository without what README.md deletes, with a model of ten lines."""
    paths = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    for path in paths:
        folder = path.removeprefix("tests/").partition("/")[0]
        if (ROOT / path).is_file() and folder not in DELETED:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, copy / path)
    (copy / "endpoint" / "model.py").write_text(MODEL)
    return copy


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a swapped copy that has also lost the image and what finds weights."""
    copy = write_swapped(tmp_path_factory.mktemp("swapped"))
    (copy / "french_bulldog.jpg").unlink()
    (copy / "endpoint" / "weights.py").unlink()
    return copy


def test_remaining_tests_pass(tmp_path):
    copy = write_swapped(tmp_path)
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.check_call(["git", *command], cwd=copy)
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    chosen = ["-k", " or ".join(FAST_TESTS), f"--basetemp={tmp_path}-below"]
    done = subprocess.run(
        [*pytest_command, *chosen], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


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
