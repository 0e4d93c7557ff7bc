"""The servers to measure: how each is started, asked, weighed and ended."""

import asyncio
import os
import signal
import socket
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
from benchmarks.pictures import Picture

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
STARTING = 300  # seconds until a server has failed to start
ENDING = 10  # seconds to end by itself
MARK = "BENCHMARK_SERVER"  # a variable that finds all processes of a server
TYPES = {"fp32": "float32", "bf16": "bfloat16"}


class Broken(Exception):
    """A server that did not start or died, with the end of its log."""


@dataclass(frozen=True)
class Kind:
    """A way to serve; `arguments` follow the interpreter."""

    arguments: str
    needs: str  # a package
    path: str = "/predict"
    form_field: str | None = "file"  # of the form; None sends the file as the body
    folder: Path = PEERS
    environment: dict[str, str] = field(default_factory=dict)


GUNICORN = "-m gunicorn --bind 127.0.0.1:{port}"
# Nobody is to be refused here: how refusals work is tested elsewhere.
OPEN = {"ENDPOINT_QUEUE": "256", "ENDPOINT_DEADLINE": str(load.TIMEOUT)}
OURS = {"path": "/", "folder": ROOT, "environment": OPEN}
KINDS = {
    "noop": Kind("-m benchmarks.noop {port}", "asyncio", "/", None, ROOT),
    "ours": Kind(GUNICORN, "gunicorn", **OURS),
    "ours-2-workers": Kind(f"{GUNICORN} --workers 2", "gunicorn", **OURS),
    "ours-4-workers": Kind(f"{GUNICORN} --workers 4", "gunicorn", **OURS),
    # In that folder gunicorn finds no configuration of ours.
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


def split(name: str) -> tuple[Kind, str | None]:
    """Return the kind and the number type in a name such as litserve-bf16."""
    kind, _, dtype = name.rpartition("-")
    if dtype in TYPES:
        return KINDS[kind], dtype
    return KINDS[name], None


def missing(name: str) -> str | None:
    """Return why a server cannot run here."""
    needs = split(name)[0].needs
    return None if find_spec(needs) else f"the package {needs} is not installed"


class Server:
    """A started server; leaving the context ends all its processes."""

    def __init__(self, name: str, checkpoint: Path | None, *arguments: str) -> None:
        self.kind, dtype = split(name)
        self.port, self.mark = free_port(), uuid.uuid4().hex
        self.log = tempfile.TemporaryFile("w+")
        variables = {
            "PORT": str(self.port),
            "MODEL": str(checkpoint),
            "DTYPE": TYPES.get(dtype, "float32"),
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
            env={**clean_environment(), **variables},
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

    def request(self, picture: Picture) -> bytes:
        kind = f"image/{picture.kind.lower()}"
        return load.request(picture.data, kind, self.kind.path, self.kind.form_field)

    def wait(self, message: bytes) -> tuple[float, float]:
        """Return the seconds until something answered and until a caption came."""
        first = None
        while (waited := time.monotonic() - self.started) < STARTING:
            self.check()
            with suppress(OSError, ValueError, IndexError):
                status, body = asyncio.run(ask_once(self.port, message))
                waited = time.monotonic() - self.started
                first = first or waited
                if status == 200 and load.caption(body):
                    return first, waited
            time.sleep(0.05)
        raise Broken(f"no caption after {STARTING} s: {self.tail()}")

    def check(self) -> None:
        if (status := self.process.poll()) is not None:
            raise Broken(f"ended with status {status}: {self.tail()}")

    def tail(self) -> str:
        """Return the log's last lines."""
        self.log.seek(0)
        return "\n".join(self.log.read().splitlines()[-12:])

    def processes(self) -> list[int]:
        """Return the ids of all processes that inherited the mark, orphans too."""
        found = [self.process.pid] if self.process.poll() is None else []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return sorted(set(found))

    def memory(self) -> float | None:
        """Return the megabytes in RAM; pages that processes share count once."""
        kilobytes = 0
        for process in self.processes():
            with suppress(OSError):
                lines = Path(f"/proc/{process}/smaps_rollup").read_text().split("\n")
                kilobytes += int(next(line for line in lines if "Pss:" in line)[4:-2])
        return kilobytes / 1000 or None

    def stop(self) -> None:
        """Interrupt the server, then kill what is left of it, each by its id."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(ENDING)
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


def clean_environment() -> dict[str, str]:
    """Return this process's variables without settings for an endpoint."""
    return {k: v for k, v in os.environ.items() if not k.startswith("ENDPOINT_")}


async def ask_once(port: int, message: bytes) -> tuple[int, bytes]:
    client = load.Client(port)
    try:
        async with asyncio.timeout(STARTING):
            return await client.ask(message)
    finally:
        client.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
