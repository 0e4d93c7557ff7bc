"""The workflows of GitHub: pinned actions, few permissions, and the shell steps."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from tests.support.server import ROOT, SCRIPTS

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
JOBS = RELEASE["jobs"]


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request):
    return request.param


def test_actions_are_pinned_by_their_commit(workflow):
    for line in re.findall(r"uses: (.+)", workflow.read_text()):
        is_own = line.startswith("./")
        assert is_own or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line)


def test_jobs_get_only_the_permissions_they_name(workflow):
    content = yaml.safe_load(workflow.read_text())
    assert content["permissions"] == {}
    assert all(job["permissions"] for job in content["jobs"].values())


def test_actionlint_finds_nothing(workflow):
    # A package of Python installs it next to Python, whose folder may not be on PATH.
    places = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    if not (linter := shutil.which("actionlint", path=places)):
        pytest.skip("actionlint is not installed")
    subprocess.run([linter, workflow], check=True)


def test_image_is_latest_once_it_was_tested():
    assert JOBS["image"]["needs"] == "ci" and JOBS["latest"]["needs"] == "image"
    build = next(s for s in JOBS["image"]["steps"] if s.get("id") == "build")["with"]
    assert "latest" not in build["tags"] and build["sbom"] and build["provenance"]
    declared = re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.M)
    assert set(re.findall(r"^(\w+)=", build["build-args"], re.M)) <= set(declared)


def test_name_of_the_image_is_in_lower_case(tmp_path):
    (step,) = [step for step in JOBS["image"]["steps"] if step.get("id") == "name"]
    output = tmp_path / "output"
    variables = {"GITHUB_REPOSITORY": "You/GPU-Endpoint", "GITHUB_OUTPUT": str(output)}
    environment = os.environ | variables | {"GITHUB_REF_NAME": "v1.2.3"}
    subprocess.run(["bash", "-ec", step["run"]], env=environment, check=True)
    assert output.read_text() == "name=ghcr.io/you/gpu-endpoint\nversion=1.2.3\n"
