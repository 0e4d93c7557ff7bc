"""Server processes for tests, started as users start them."""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent  # where gunicorn and flask are


def free_port() -> int:
    """Return a free port below those that the system gives to clients' connections."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("0.0.0.0", port))
            return port


class Server:
    """A server process on a free port; `log` is what it has printed so far.

    It runs on the CPU, also on a machine with a GPU, unless ENDPOINT_DEVICE is given.
    """

    def __init__(
        self, *command: str, cwd: str | Path = ROOT, **environment: object
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._output = tempfile.TemporaryFile("w+")
        variables = {name: str(value) for name, value in environment.items()}
        self.process = subprocess.Popen(
            [SCRIPTS / command[0], *command[1:]],
            cwd=cwd,
            env=os.environ | {"ENDPOINT_DEVICE": "cpu"} | variables | self._ports(),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def _ports(self) -> dict[str, str]:
        return {"PORT": str(self.port), "FLASK_RUN_PORT": str(self.port)}

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *failure: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._output.close()

    @property
    def log(self) -> str:
        self._output.seek(0)
        return self._output.read()

    def ping(self) -> int:
        """Return the status of /ping, 0 without an answer."""
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def wait_for(self, status: int, seconds: float = 120) -> "Server":
        """Wait until /ping answers with a status."""
        deadline = time.monotonic() + seconds
        while self.ping() != status:
            assert time.monotonic() < deadline, f"/ping was never {status}:\n{self.log}"
            assert status == 0 or self.process.poll() is None, self.log
            time.sleep(0.05)
        return self

    def wait_for_log(self, text: str, seconds: float = 60) -> None:
        """Wait until the log contains a text."""
        deadline = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < deadline, f"{text!r} is not in:\n{self.log}"
            time.sleep(0.05)

    def curl(self, *arguments: str | Path) -> str:
        """Return what curl prints; the last argument is a path on this server."""
        *options, path = arguments
        command = ["curl", "--silent", "--show-error", *options, f"{self.url}{path}"]
        return subprocess.check_output(command, cwd=ROOT, text=True)
