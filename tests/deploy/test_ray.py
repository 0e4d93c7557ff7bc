"""deploy/ray_serve.py on two nodes of this machine, each with a pretended GPU."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.images import make_image
from tests.support.ray_cluster import find_processes
from tests.support.server import ROOT, SCRIPTS, free_port

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(
    not (os.environ.get("ENDPOINT_TEST_LONG") and sys.platform == "linux"),
    reason="takes three minutes and 3 GB: set ENDPOINT_TEST_LONG=1",
)
LOAD_SECONDS = 12.0
REPLICA = "ray::ServeReplica:default:Replica"  # the title of its process


class Cluster:
    """A Ray cluster of two nodes, at 127.0.0.2 and 127.0.0.3."""

    def __init__(self, folder: Path) -> None:
        self.mark, self.port = uuid.uuid4().hex, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.head = f"127.0.0.2:{free_port()}"
        self.environment = os.environ | {
            "CLUSTER_MARK": self.mark,
            "ENDPOINT_MODULE": "tests.support.fake_model",
            "ENDPOINT_MAX_BATCH": "8",
            "FAKE_SECONDS": "1",
            "PYTHONPATH": str(ROOT),
            "RAY_ADDRESS": self.head,
            "RAY_AUTH_MODE": "disabled",  # Otherwise it writes a token into HOME.
            "RAY_TMPDIR": str(folder),
            "RAY_raylet_start_wait_time_s": "120",
            "RAY_USAGE_STATS_ENABLED": "0",
            "MAX_REPLICAS": "2",
        }
        self.environment.pop("ENDPOINT_DEVICE", None)
        size = ("--num-cpus=2", "--num-gpus=1", "--object-store-memory=200000000")
        port = self.head.rpartition(":")[2]
        head = ("--head", f"--port={port}", "--include-dashboard=false")
        self.run("ray", "start", "--node-ip-address=127.0.0.2", *head, *size)
        second = ("--node-ip-address=127.0.0.3", f"--address={self.head}")
        self.run("ray", "start", *second, *size)
        address = ("--http-host=127.0.0.1", f"--http-port={self.port}")
        self.run("serve", "start", "--proxy-location=HeadOnly", *address)

    def run(self, command: str, *options: str) -> None:
        call = [SCRIPTS / command, *options]
        done = subprocess.run(
            call, cwd=ROOT, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def deploy(self, replicas: int) -> None:
        self.environment["MIN_REPLICAS"] = str(replicas)
        self.run("serve", "run", "--non-blocking", "deploy.ray_serve:endpoint")
        self.wait_for(replicas)

    def wait_for(self, replicas: int) -> None:
        """Wait until there are so many replicas and Ray sends requests to all."""
        deadline = time.monotonic() + 90
        while len(self.processes(REPLICA)) != replicas:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        time.sleep(5)  # Ray notices a new replica later than its process appears.

    def processes(self, title: str) -> list[int]:
        return find_processes(self.mark, title)

    def send(self, width: int) -> tuple[int, str]:
        """Send an image; return the status and the text of the response."""
        request = urllib.request.Request(self.url, make_image(width, 8), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=100) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def load(self, during=lambda: None) -> tuple[float, list]:
        """Return the captions a second to 64 clients, and all other responses."""
        started = time.monotonic()
        captions, others = [], []

        def client(number: int) -> None:
            while time.monotonic() < started + LOAD_SECONDS:
                response = self.send(100 + number)
                is_right = response == (200, f"{100 + number} by 8\n")
                (captions if is_right else others).append(response)

        with ThreadPoolExecutor(65) as clients:
            done = [clients.submit(client, number) for number in range(64)]
            time.sleep(LOAD_SECONDS / 3)
            during()
            [future.result() for future in done]
        return len(captions) / (time.monotonic() - started), others

    def stop(self) -> None:
        for pid in self.processes(""):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster():
    folder = Path(f"/tmp/ray-{os.getpid()}")  # The paths of sockets must be short.
    cluster = object.__new__(Cluster)
    try:
        cluster.__init__(folder)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_two_replicas_are_faster_than_one_and_survive_a_kill(cluster):
    cluster.deploy(1)
    one, others = cluster.load()
    assert others == []
    cluster.deploy(2)
    two, others = cluster.load()
    print(f"one replica {one:.1f}/s, two {two:.1f}/s")
    assert others == [] and two > 1.6 * one

    def kill():
        os.kill(cluster.processes(REPLICA)[0], signal.SIGKILL)

    remaining, others = cluster.load(kill)
    print(f"one killed: {remaining:.1f}/s, {len(others)} other responses")
    assert {status for status, _ in others} <= {503}
    assert all(json.loads(body)["status"] == 503 for _, body in others)
    cluster.wait_for(2)
    again, others = cluster.load()
    assert others == [] and again > 1.6 * one


def test_responses_are_the_same_as_with_gunicorn(cluster):
    cluster.deploy(2)
    subprocess.run(
        [sys.executable, "-m", "flask", "smoke", cluster.url], cwd=ROOT, check=True
    )
    assert cluster.send(13)[0] == 500
    with urllib.request.urlopen(f"{cluster.url}/health", timeout=10) as response:
        assert json.load(response)["device"] == "cuda"  # never "cpu" with a GPU
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{cluster.url}/nowhere", timeout=10)
    with error.value as response:
        assert response.code == 404
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.headers["X-Request-Id"]
    with urllib.request.urlopen(f"{cluster.url}/ping", timeout=10) as response:
        assert response.status == 200
