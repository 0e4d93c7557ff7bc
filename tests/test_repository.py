"""What must hold of the repository's files as they are checked in."""

import ast
import re
import subprocess
from collections import Counter

import pytest

from tests.support.server import ROOT

TRACKED = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
PYTHON = [path for path in TRACKED if path.endswith(".py")]


def test_no_package_is_twice_in_the_lock():
    lock = (ROOT / "poetry.lock").read_text()
    names = Counter(re.findall(r'^name = "(.+)"', lock, re.M))
    assert [name for name, count in names.items() if count > 1] == []


def test_lock_and_settings_name_no_host_but_the_public_ones():
    for name in ("poetry.lock", "pyproject.toml", "poetry.toml"):
        assert "[[tool.poetry.source]]" not in (ROOT / name).read_text()
        assert "[package.source]" not in (ROOT / name).read_text()


@pytest.mark.parametrize("path", [path for path in PYTHON if "endpoint/" in path])
def test_functions_are_short(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 30, node.name


def test_model_file_is_small():
    lines = (ROOT / "endpoint" / "model.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 45


def test_readme_names_every_setting():
    from endpoint.settings import DEFAULTS

    readme = (ROOT / "README.md").read_text()
    for name in (*DEFAULTS, "MODEL", "APP", "DEVICE", "API_KEY"):
        assert f"`ENDPOINT_{name}`" in readme


def test_readme_names_every_main_dependency():
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("dependencies = [") : text.index("[dependency-groups]")]
    readme = (ROOT / "README.md").read_text()
    for name in re.findall(r'"([a-z-]+)>=', section):
        assert f"**{name}**" in readme
