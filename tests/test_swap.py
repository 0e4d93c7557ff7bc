"""A swapped model: the server runs without all that belongs to the shipped one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.images import make_image
from tests.support.server import ROOT, SCRIPTS, Server

if not (ROOT / "demo").is_dir():  # README.md may be another one by then.
    pytest.skip("the model is swapped already", allow_module_level=True)
DELETED = re.findall("`rm -r (.+?)`", (ROOT / "README.md").read_text())[0].split()
MODEL = """
from model_helpers.image import decode_image


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


# They start many servers. They are collected but not run, which would take minutes.
SLOW_TESTS = (
    *("stress", "gunicorn_worker", "test_developer", "test_init", "test_openapi"),
    "test_page",
)
LINTERS = (
    ("black", "--check", "."),
    ("isort", "--check", "."),
    ("flake8",),
    ("mypy", "--follow-imports=skip", "endpoint/model.py"),
)


def write_swapped(copy: Path) -> Path:
    """Copy the repository without what README.md deletes, with a model of ten lines."""
    paths = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    for path in paths:
        folder = path.removeprefix("tests/").partition("/")[0]
        if (ROOT / path).is_file() and folder not in DELETED:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, copy / path)
    (copy / "endpoint" / "model.py").write_text(MODEL.lstrip())
    return copy


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a swapped copy that has also lost the image and what finds weights."""
    copy = write_swapped(tmp_path_factory.mktemp("swapped"))
    (copy / "french_bulldog.jpg").unlink()
    (copy / "model_helpers" / "weights.py").unlink()
    return copy


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return a swapped clone, as README.md says."""
    clone = write_swapped(tmp_path_factory.mktemp("clone"))
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.check_call(["git", *command], cwd=clone)
    return clone


def run(clone: Path, module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


def test_remaining_tests_pass(clone, tmp_path):
    chosen = " and ".join(f"not {name}" for name in SLOW_TESTS)
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}"]
    run(clone, "pytest", *options, "-k", chosen)


@pytest.mark.parametrize("linter", LINTERS, ids=lambda linter: linter[0])
def test_linters_accept_the_clone(clone, linter):
    run(clone, *linter)


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
    assert not (copy / "model_helpers" / "weights.py").exists()


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
