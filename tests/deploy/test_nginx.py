"""deploy/nginx.conf in front of a real gunicorn on a Unix socket."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.images import BULLDOG, CAPTION
from tests.support.server import ROOT, Server, free_port

pytestmark = pytest.mark.skipif(
    not shutil.which("nginx"), reason="nginx is not installed"
)
STATUS = ("--output", "/dev/null", "--write-out", "%{http_code}")


class Nginx(Server):
    """nginx with the checked-in configuration, but with its paths below a folder."""

    def __init__(self, folder: Path, upstream: Path, new: Path | None = None) -> None:
        port, file = free_port(), folder / "nginx.conf"
        configuration = (ROOT / "deploy" / "nginx.conf").read_text()
        for original, replacement in {
            "/tmp/nginx": f"{folder}/nginx",
            "listen 80": f"listen 127.0.0.1:{port}",
            "/run/endpoint/gunicorn.sock": str(upstream),
            "/run/endpoint/new.sock": str(new),
            "rate=20r/s": "rate=1000r/s",
        }.items():
            assert original in configuration
            configuration = configuration.replace(original, replacement)
        # With a new version, do what the comment in the file says.
        configuration = configuration.replace("# 10%  new;", "10% new;" if new else "")
        file.write_text(configuration)
        options = ("-p", folder, "-c", file, "-e", "stderr", "-g", "daemon off;")
        super().__init__(shutil.which("nginx"), *options)
        self.port, self.url = port, f"http://127.0.0.1:{port}"


def gunicorn(folder: Path, **environment: object) -> Server:
    port = free_port()
    binds = ("--bind", f"unix:{folder}/g.sock", "--bind", f"127.0.0.1:{port}")
    server = Server("gunicorn", *binds, **environment)
    server.port, server.url = port, f"http://127.0.0.1:{port}"
    return server


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def worker_of(server: Server) -> int:
    """Return the process id of gunicorn's worker."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return int(children.read_text().split()[0])


@pytest.fixture(scope="module")
def folder():
    folder = (
        Path("/tmp") / f"nginx-{os.getpid()}"
    )  # A long path is refused for a socket.
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def endpoint(folder):
    with gunicorn(folder, ENDPOINT_MODEL="demo") as server:
        yield server.wait_for(200)


@pytest.fixture(scope="module")
def nginx(folder, endpoint):
    with Nginx(folder, folder / "g.sock") as server:
        yield server.wait_for(200)


def test_uploads_get_their_caption(nginx):
    assert nginx.curl("-F", f"file=@{BULLDOG}", "/") == f"{CAPTION}\n"
    assert nginx.curl("-T", BULLDOG, "/predict") == f"{CAPTION}\n"


def test_smoke_test_passes(nginx):
    command = [sys.executable, "-m", "flask", "smoke", nginx.url]
    subprocess.run(command, cwd=ROOT, check=True)


def test_large_upload_gets_the_same_refusal_as_without_nginx(nginx, endpoint, tmp_path):
    large = tmp_path / "large"
    large.write_bytes(bytes(20_000_001))
    for options in ((), ("-H", "Transfer-Encoding: chunked")):
        refusals = [
            json.loads(server.curl("-T", large, *options, "/predict"))
            for server in (nginx, endpoint)
        ]
        assert refusals[0] == refusals[1] and refusals[0]["status"] == 413
    assert nginx.curl("-T", large, *STATUS, "/predict") == "413"


def test_slow_uploads_occupy_no_thread_of_the_endpoint(nginx, endpoint):
    threads = Path(f"/proc/{worker_of(endpoint)}/task")
    before = len(list(threads.iterdir()))
    slow = []
    for _ in range(100):
        client = socket.create_connection(("127.0.0.1", nginx.port))
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nab")
        slow.append(client)
    # nginx accepts connections in order: this one is answered after the slow ones.
    assert nginx.curl("-T", BULLDOG, "/predict") == f"{CAPTION}\n"
    assert len(list(threads.iterdir())) <= before + 1
    for client in slow:
        client.close()


@pytest.mark.parametrize("sent, is_kept", [("my-own.id", True), ("not an id!", False)])
def test_both_logs_show_the_same_request_id_and_client(nginx, endpoint, sent, is_kept):
    headers = ("-H", f"X-Request-Id: {sent}", "-H", "X-Real-IP: 6.6.6.6")
    response = nginx.curl("-i", "-T", BULLDOG, *headers, "/predict")
    (number,) = re.findall("(?i)^x-request-id: (.*?)\\s*$", response, re.M)
    assert (number == sent) == is_kept
    for server in (nginx, endpoint):
        wait_until(lambda: number in server.log)
        (line,) = [line for line in server.log.splitlines() if number in line]
        assert "127.0.0.1 " in line and "6.6.6.6" not in line


def test_metrics_are_not_public(nginx, endpoint):
    assert nginx.curl(*STATUS, "/metrics") == "404"
    assert "endpoint_queue_size" in endpoint.curl("/metrics")


def test_clients_of_a_killed_endpoint_get_a_503_until_it_is_back(folder):
    own = folder / "killed"
    own.mkdir()
    fake = {"ENDPOINT_MODULE": "tests.support.fake_model", "FAKE_SECONDS": 1000}
    with Nginx(own, own / "g.sock") as nginx:
        assert nginx.wait_for(503).ping() == 503
        with gunicorn(own, **fake) as server:
            nginx.wait_for(200)
            request = ["curl", "-s", "-i", "-T", BULLDOG, f"{nginx.url}/predict"]
            with subprocess.Popen(request, stdout=subprocess.PIPE, text=True) as client:
                # Once its input has left the queue, the model works on the request.
                batch = "endpoint_batch_size_count 1.0"
                wait_until(lambda: batch in server.curl("/metrics"))
                worker = worker_of(server)
                os.kill(server.process.pid, signal.SIGKILL)
                os.kill(worker, signal.SIGKILL)
                response = client.stdout.read()
        assert " 503 " in response and "Retry-After: 5" in response
        assert json.loads(response.splitlines()[-1])["status"] == 503
        assert nginx.ping() == 503
        with gunicorn(own, ENDPOINT_MODEL="demo"):
            nginx.wait_for(200)
            assert nginx.curl("-T", BULLDOG, "/predict") == f"{CAPTION}\n"
