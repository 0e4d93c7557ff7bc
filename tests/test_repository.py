"""Budgets, layers and documentation of the repository as it is checked in."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ROOT

TRACKED = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
FILES = [path for path in TRACKED if (ROOT / path).is_file()]
PYTHON = [path for path in FILES if path.endswith(".py")]
PLACES = (
    *("endpoint/", "model_interface/", "model_helpers/"),
    *("vit_gpt2/", "tools/", "gunicorn_worker/"),
)
PRODUCT = [p for p in PYTHON if p.startswith(PLACES)]
PACKAGES = (
    "endpoint",
    "gunicorn_worker",
    "model_helpers",
    "model_interface",
    "vit_gpt2",
    "tools",
    "deploy",
    "examples",
    "benchmarks",
    "tests",
)
READING_PATH = (
    *("endpoint/__init__", "endpoint/app", "endpoint/model"),
    *("model_interface/files", "endpoint/uploads"),
    *("model_helpers/image", "endpoint/batcher", "endpoint/responses"),
    *("endpoint/telemetry", "endpoint/settings", "model_helpers/weights"),
    "endpoint/device",
)
PROJECTS = ("pyproject.toml", "extras/pyproject.toml")
LOCKS = ("poetry.lock", "extras/poetry.lock")
EXAMPLES = [path for path in PYTHON if re.fullmatch(r"examples/\w+\.py", path)]
limit = pytest.mark.skipif(
    not (ROOT / "demo").is_dir(), reason="after a swap, the code may be of any size"
)


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_name(p): p for p in PYTHON if p.split("/")[0] in PACKAGES}


def read(path: str | Path) -> str:
    return (ROOT / path).read_text()


def load(path: str) -> dict[str, Any]:
    return tomllib.loads(read(path))


def count_lines(path: str) -> int:
    """Count the lines that are not blank."""
    return sum(bool(line.strip()) for line in read(path).splitlines())


def imports(path: str) -> Iterator[str]:
    """Yield what a file imports, also inside its functions."""
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


def imported_packages(path: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


@limit
def test_reading_path_is_short():
    lines = {name: count_lines(f"{name}.py") for name in READING_PATH}
    assert sum(lines.values()) <= 1000, lines


@limit
@pytest.mark.parametrize(
    "place, most",
    [
        ("endpoint", 1300),
        ("model_interface", 707),
        ("model_helpers", 381),
        ("gunicorn_worker", 467),
    ],
)
def test_place_is_short(place, most):
    lines = {p: count_lines(p) for p in PYTHON if p.startswith(f"{place}/")}
    assert sum(lines.values()) <= most, lines


@limit
@pytest.mark.parametrize(
    "path, most",
    [
        ("endpoint/app.py", 150),
        ("endpoint/model.py", 45),
        *((path, 45) for path in EXAMPLES if "\nclass Model" in read(path)),
    ],
)
def test_file_is_short(path, most):
    assert count_lines(path) <= most


@limit
@pytest.mark.parametrize("path", PRODUCT)
def test_functions_and_classes_are_short(path):
    limits = {ast.FunctionDef: 25, ast.AsyncFunctionDef: 25, ast.ClassDef: 120}
    for node in ast.walk(ast.parse(read(path))):
        if most := limits.get(type(node)):
            assert node.end_lineno - node.lineno + 1 <= most, node.name


@limit
def test_root_has_few_files():
    assert len([path for path in FILES if "/" not in path]) <= 20


def test_no_module_is_part_of_an_import_cycle():
    graph = {
        module: {name for name in imports(path) if name in MODULES}
        for module, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


# What each place imports of the others; only a model file imports more.
LAYERS = {
    "model_interface/": {"model_interface"},
    "model_helpers/": {"model_interface", "endpoint", "model_helpers"},
    "endpoint/": {"model_interface", "endpoint"},
}


@pytest.mark.parametrize("path", [p for p in PYTHON if p.startswith(tuple(LAYERS))])
def test_place_imports_only_those_below_it(path):
    allowed = LAYERS[f"{path.partition('/')[0]}/"]
    own = {"vit_gpt2", "model_helpers"} if path == "endpoint/model.py" else set()
    assert imported_packages(path) & {*PACKAGES, "demo"} <= allowed | own


@pytest.mark.parametrize("path", [p for p in PYTHON if p.startswith("tests/")])
def test_tests_import_nothing_of_the_benchmarks(path):
    assert "benchmarks" not in imported_packages(path)


# A swap replaces endpoint/model.py. Its tests are in tests/vit_gpt2/, which it deletes.
@limit
@pytest.mark.parametrize(
    "path",
    [p for p in PRODUCT if "__init__" not in p and p != "endpoint/model.py"],
)
def test_every_module_has_its_test_file(path):
    folder, _, name = path.rpartition("/")
    assert (ROOT / "tests" / folder / f"test_{name}").is_file(), path


@pytest.mark.parametrize("lock", LOCKS)
def test_no_package_is_in_the_lock_twice(lock):
    # Some packages no longer support the oldest Python, which then has its own version.
    names = Counter(
        (package["name"], str(package.get("markers")))
        for package in load(lock)["package"]
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_file_is_that_of_its_project(lock):
    content = load(lock.replace("poetry.lock", "pyproject.toml"))
    hashed = {
        "project": pick(
            content["project"],
            *("requires-python", "dependencies", "optional-dependencies"),
        ),
        "dependency-groups": content["dependency-groups"],
        "tool": {
            "poetry": pick(
                content["tool"]["poetry"],
                *("dependencies", "source", "extras", "dev-dependencies", "group"),
            )
        },
    }
    digest = sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()
    assert load(lock)["metadata"]["content-hash"] == digest, "run `make lock`"


def pick(values: dict, *names: str) -> dict:
    return {name: values[name] for name in names if name in values}


# The groups of a folder are not installed once a swap has deleted it.
FOLDERS = {
    "demo": "demo",
    "examples": "examples",
    "deploy": "deploy",
    "runpod": "deploy",
}
GROUPS = {group for group, folder in FOLDERS.items() if (ROOT / folder).is_dir()}
GROUPS |= {"main", "dev", "browser"}


def versions(lock: Path) -> dict[str, str]:
    return {
        package["name"]: package["version"]
        for package in tomllib.loads(lock.read_text())["package"]
        if GROUPS.intersection(package["groups"])
    }


def differences(folder: Path) -> set[str]:
    """Return the packages that have another version in the other lock file."""
    server, extras = (versions(folder / lock) for lock in LOCKS)
    return {name for name in server.keys() & extras if server[name] != extras[name]}


def test_package_in_both_lock_files_has_one_version():
    assert differences(ROOT) == set(), "run `make lock`"


def test_extras_get_the_versions_of_the_server(tmp_path):
    (tmp_path / "extras").mkdir()
    for path in (*LOCKS, "extras/agree.py"):
        shutil.copy(ROOT / path, tmp_path / path)
    lock = tmp_path / "extras" / "poetry.lock"
    only_extras = versions(lock).keys() - versions(tmp_path / "poetry.lock").keys()
    lock.write_text(
        re.sub('^version = ".+"', 'version = "0"', lock.read_text(), 0, re.M)
    )
    assert "click" in differences(tmp_path)
    subprocess.check_call([sys.executable, tmp_path / "extras" / "agree.py"])
    assert differences(tmp_path) == set()
    after = versions(lock)
    assert {after[name] for name in only_extras} == {"0"}


def test_make_add_without_packages_ends_with_a_sentence():
    command = ["make", "add", "PACKAGES="]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert 'Name the packages to add: make add PACKAGES="timm einops"' in done.stderr


@pytest.mark.parametrize("path", [*PROJECTS, *LOCKS, "poetry.toml"])
def test_no_package_comes_from_a_private_index(path):
    assert "[[tool.poetry.source]]" not in read(path)
    assert "[package.source]" not in read(path)
