"""Every model file is short, and names a fixed version of its weights."""

import re

import pytest

from tests.support.server import ROOT

SOURCES = (ROOT / "examples").rglob("*.py")
FILES = [file for file in SOURCES if "class Model" in file.read_text()]
CHECKPOINTS = [file for file in FILES if "CHECKPOINT" in file.read_text()]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_model_file_is_short(file):
    lines = file.read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 45


@pytest.mark.parametrize("file", CHECKPOINTS, ids=lambda file: file.stem)
def test_checkpoint_is_pinned(file):
    text = file.read_text()
    assert re.search('^CHECKPOINT = "[\\w.-]+/[\\w.-]+"', text, re.M)
    assert re.search('^REVISION = "[0-9a-f]{40}"', text, re.M)


def test_all_examples_are_looked_at():
    assert (len(FILES), len(CHECKPOINTS)) == (17, 13)
