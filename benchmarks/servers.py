"""The servers to measure: how to start each, send to it, and end all its processes."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks import load
from benchmarks.images import ImageFile
from tests.support.server import ROOT, free_port

PEERS = Path(__file__).parent / "peers"
START_TIMEOUT = 300  # seconds
STOP_TIMEOUT = 10  # seconds until a server is killed
MARK = "BENCHMARK_SERVER"  # an environment variable that all its processes inherit
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


class ServerFailed(Exception):
    """A server did not start or has ended; the message has the end of its log."""


@dataclass(frozen=True)
class Kind:
    """How to start a kind of server and how to send to it."""

    arguments: str  # of the Python interpreter
    package: str  # that the server needs
    path: str = "/predict"
    form_field: str | None = "file"  # None sends the file as the body
    folder: Path = PEERS
    environment: dict[str, str] = field(default_factory=dict)


GUNICORN = "-m gunicorn --bind 127.0.0.1:{port}"
# Limits so wide that no request is refused: the tests cover refusals.
WIDE = {"ENDPOINT_QUEUE": "256", "ENDPOINT_DEADLINE": str(load.TIMEOUT)}
NO_DELAY = {"ENDPOINT_MAX_BATCH_DELAY": "0"}
OURS = {"path": "/", "folder": ROOT, "environment": WIDE}
# gunicorn's own thread worker with the settings of gunicorn.conf.py.
THREADS = " --worker-class gthread --threads 320 --worker-connections 2320"
THREADS += " --keep-alive 75 benchmarks.floor_apps"
PATH = {"PYTHONPATH": str(ROOT)}
ASLEEP = {"ENDPOINT_MODULE": "benchmarks.floor_apps"}
KINDS = {
    "noop": Kind("-m benchmarks.noop {port}", "asyncio", "/", None, ROOT),
    "noop-unread": Kind(f"{GUNICORN}{THREADS}:noop", "gunicorn", environment=PATH),
    "noop-reading": Kind(
        f"{GUNICORN}{THREADS}:read_upload", "gunicorn", environment=PATH
    ),
    "ours": Kind(GUNICORN, "gunicorn", **OURS),
    "ours-no-delay": Kind(
        GUNICORN, "gunicorn", **OURS | {"environment": WIDE | NO_DELAY}
    ),
    "ours-asleep": Kind(GUNICORN, "gunicorn", **OURS | {"environment": WIDE | ASLEEP}),
    "ours-2-workers": Kind(f"{GUNICORN} --workers 2", "gunicorn", **OURS),
    "ours-4-workers": Kind(f"{GUNICORN} --workers 4", "gunicorn", **OURS),
    "noop-flask": Kind(f"{GUNICORN}{THREADS}:flask_app", "gunicorn", environment=PATH),
    # The folder has no gunicorn.conf.py.
    "plain": Kind(f"{GUNICORN} plain:app", "gunicorn"),
    "litserve": Kind("litserve_.py", "litserve"),
    "onnx": Kind("onnx_.py", "onnxruntime"),
    "bentoml": Kind(
        "-m bentoml serve bentoml_:Captions --host 127.0.0.1 --port {port}",
        "bentoml",
        form_field="images",
        environment={"BENTOML_DO_NOT_TRACK": "True"},
    ),
    "mosec": Kind(
        f"mosec_.py --address 127.0.0.1 --port {{port}} --timeout {load.TIMEOUT}000",
        "mosec",
        "/inference",
        None,
    ),
    "ray": Kind(
        "ray_.py", "ray", "/", None, environment={"RAY_USAGE_STATS_ENABLED": "0"}
    ),
    "generate": Kind("generate.py", "transformers"),
}


def parse_name(name: str) -> tuple[Kind, str | None]:
    """Return the kind and the dtype in a name like litserve-bf16."""
    kind, _, dtype = name.rpartition("-")
    if dtype in DTYPES:
        return KINDS[kind], dtype
    return KINDS[name], None


def missing_package(name: str) -> str | None:
    """Return the package that a server needs and that is not installed."""
    package = parse_name(name)[0].package
    return None if find_spec(package) else package


class Server:
    """A server that was started; leaving the context ends all its processes."""

    def __init__(self, name: str, checkpoint: Path | None, *arguments: str) -> None:
        self.kind, dtype = parse_name(name)
        self.port, self.mark = free_port(), uuid.uuid4().hex
        self.log = tempfile.TemporaryFile("w+")
        variables = {
            "PORT": str(self.port),
            "MODEL": str(checkpoint),
            "DTYPE": DTYPES.get(dtype, "float32"),
            "ENDPOINT_MODEL": str(checkpoint),
            "HF_HUB_OFFLINE": "1",
            MARK: self.mark,
            **self.kind.environment,
        }
        command = [sys.executable, *self.kind.arguments.format(port=self.port).split()]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=self.kind.folder,
            env={**environment_without_settings(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if arguments else self.log,
            stderr=self.log,
            text=True,
        )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()

    def make_request(self, image: ImageFile) -> bytes:
        kind, path = f"image/{image.format.lower()}", self.kind.path
        return load.make_request(image.data, kind, path, self.kind.form_field)

    def wait(self, request: bytes) -> tuple[float, float]:
        """Return the seconds until the first answer and until the first caption."""
        first = None
        while (waited := time.monotonic() - self.started) < START_TIMEOUT:
            self.check()
            with suppress(OSError, ValueError, IndexError):
                status, body = asyncio.run(send_once(self.port, request))
                waited = time.monotonic() - self.started
                first = first or waited
                if status == 200 and load.parse_caption(body):
                    return first, waited
            time.sleep(0.05)
        raise ServerFailed(f"no caption after {START_TIMEOUT} s: {self.tail()}")

    def check(self) -> None:
        """Raise ServerFailed if the process has ended."""
        if (status := self.process.poll()) is not None:
            raise ServerFailed(f"ended with status {status}: {self.tail()}")

    def tail(self) -> str:
        """Return the last lines of the log."""
        self.log.seek(0)
        return "\n".join(self.log.read().splitlines()[-12:])

    def processes(self) -> list[int]:
        """Return the ids of all processes of this server, also of orphaned ones."""
        found = [self.process.pid] if self.process.poll() is None else []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return sorted(set(found))

    def memory(self) -> float | None:
        """Return the memory of all processes in MB; shared pages count once."""
        kilobytes = 0
        for process in self.processes():
            with suppress(OSError):
                lines = Path(f"/proc/{process}/smaps_rollup").read_text().split("\n")
                kilobytes += int(next(line for line in lines if "Pss:" in line)[4:-2])
        return kilobytes / 1000 or None

    def stop(self) -> None:
        """Interrupt the server, then kill its remaining processes, each by its id."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_TIMEOUT)
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


def environment_without_settings() -> dict[str, str]:
    """Return the environment of this process without the ENDPOINT_* variables."""
    return {k: v for k, v in os.environ.items() if not k.startswith("ENDPOINT_")}


async def send_once(port: int, request: bytes) -> tuple[int, bytes]:
    connection = load.Connection(port)
    try:
        async with asyncio.timeout(START_TIMEOUT):
            status, _, body = await connection.send(request)
            return status, body
    finally:
        connection.close()
