"""A Ray cluster of two nodes on this machine, for the jobs of a test."""

import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from tests.support.server import ROOT, SCRIPTS, free_port

CPUS = 2  # of each node, of which one is for the model


def find_processes(mark: str, title: str) -> list[int]:
    """Return the ids of processes with a mark in their environment and this title."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_marked = mark.encode() in (folder / "environ").read_bytes()
            if is_marked and title.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


class RayCluster:
    """Nodes at 127.0.0.2 and 127.0.0.3; `environment` is for the jobs as well."""

    def __init__(self, **environment: str) -> None:
        self.folder = Path(f"/tmp/ray-{os.getpid()}")  # Paths of sockets must be short.
        self.mark, port = uuid.uuid4().hex, free_port()
        self.environment = os.environ | {
            "CLUSTER_MARK": self.mark,
            "RAY_ADDRESS": f"127.0.0.2:{port}",
            "RAY_AUTH_MODE": "disabled",  # Otherwise it writes a token into HOME.
            "RAY_TMPDIR": str(self.folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "120",
        }
        self.environment |= environment
        self._start(
            "127.0.0.2", "--head", f"--port={port}", "--include-dashboard=false"
        )
        self._start("127.0.0.3", f"--address=127.0.0.2:{port}")

    def _start(self, address: str, *options: str) -> None:
        size = f"--num-cpus={CPUS}", "--num-gpus=0", "--object-store-memory=200000000"
        command = [SCRIPTS / "ray", "start", f"--node-ip-address={address}", *options]
        done = subprocess.run(
            [*command, *size],
            env=self.environment,
            cwd="/",  # A job finds the code, not a node.
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, *arguments: str | Path, **options: object) -> subprocess.Popen:
        """Start the command of deploy/ray_data.py with this cluster."""
        command = [sys.executable, "-m", "deploy.ray_data", *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, **options)

    def processes(self, title: str = "") -> list[int]:
        return find_processes(self.mark, title)

    def stop(self) -> None:
        for pid in self.processes():
            if pid != os.getpid():
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
