"""deploy/nginx.conf before a real gunicorn at a unix socket."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.server import ROOT, Server, free_port
from tests.endpoint.test_serve import BULLDOG, CAPTION

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not here")
CODE = ("--output", "/dev/null", "--write-out", "%{http_code}")


class Nginx(Server):
    """nginx with the checked-in configuration, its places moved below a folder."""

    def __init__(self, folder: Path, upstream: Path) -> None:
        port, file = free_port(), folder / "nginx.conf"
        moved = (ROOT / "deploy" / "nginx.conf").read_text()
        for theirs, ours in {
            "/tmp/nginx": f"{folder}/nginx",
            "listen 80": f"listen 127.0.0.1:{port}",
            "/run/endpoint/gunicorn.sock": str(upstream),
            "rate=20r/s": "rate=1000r/s",
        }.items():
            assert theirs in moved
            moved = moved.replace(theirs, ours)
        file.write_text(moved)
        options = ("-p", folder, "-c", file, "-e", "stderr", "-g", "daemon off;")
        super().__init__(shutil.which("nginx"), *options)
        self.port, self.url = port, f"http://127.0.0.1:{port}"


def gunicorn(path: Path, **environment: object) -> Server:
    binds = ("--bind", f"unix:{path}/g.sock", "--bind", f"127.0.0.1:{free_port()}")
    server = Server("gunicorn", *binds, **environment)
    server.port = int(binds[-1].rpartition(":")[2])
    server.url = f"http://{binds[-1]}"
    return server


@pytest.fixture(scope="module")
def folder():
    folder = Path("/tmp") / f"nginx-{os.getpid()}"  # A socket's path must be short.
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


def test_caption_comes_through(nginx):
    assert nginx.curl("-F", f"file=@{BULLDOG}", "/") == CAPTION
    assert nginx.curl("-T", BULLDOG, "/predict") == CAPTION


def test_smoke_passes(nginx):
    subprocess.run(
        [sys.executable, "-m", "flask", "smoke", nginx.url], cwd=ROOT, check=True
    )


def test_large_upload_is_refused_in_the_words_of_the_endpoint(
    nginx, endpoint, tmp_path
):
    large = tmp_path / "large"
    large.write_bytes(bytes(20_000_001))
    for options in ((), ("-H", "Transfer-Encoding: chunked")):
        answers = [
            server.curl("-T", large, *options, "/predict")
            for server in (nginx, endpoint)
        ]
        theirs, ours = map(json.loads, answers)
        assert theirs == ours and ours["status"] == 413
    assert nginx.curl("-T", large, *CODE, "/predict") == "413"


def test_slow_upload_takes_none_of_the_endpoint_threads(nginx, endpoint):
    stack = Path(f"/proc/{worker_of(endpoint)}/task")
    before = len(list(stack.iterdir()))
    slow = []
    for _ in range(100):
        client = socket.create_connection(("127.0.0.1", nginx.port))
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nab")
        slow.append(client)
    time.sleep(1)
    assert len(list(stack.iterdir())) <= before + 1
    assert nginx.curl("-T", BULLDOG, "/predict") == CAPTION
    for client in slow:
        client.close()


def test_both_logs_tell_the_same_request_and_client(nginx, endpoint):
    for sent, kept in (("my-own.id", True), ("not an id!", False)):
        header = f"X-Request-Id: {sent}"
        shown = nginx.curl(
            "-i", "-T", BULLDOG, "-H", header, "-H", "X-Real-IP: 6.6.6.6", "/predict"
        )
        (number,) = re.findall("(?i)^x-request-id: (.*?)\\s*$", shown, re.M)
        assert (number == sent) == kept
        time.sleep(0.2)
        for log in (nginx.log, endpoint.log):
            (line,) = [line for line in log.splitlines() if number in line]
            assert "127.0.0.1 " in line and "6.6.6.6" not in line


def test_figures_are_not_for_everybody(nginx, endpoint):
    assert nginx.curl(*CODE, "/metrics") == "404"
    assert "endpoint_queue_size" in endpoint.curl("/metrics")


def worker_of(server: Server) -> str:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return children.read_text().split()[0]


def test_killed_endpoint_gives_503_in_sentences_and_comes_back(folder):
    own = folder / "killed"
    own.mkdir()
    with Nginx(own, own / "g.sock") as nginx:
        assert nginx.wait_for(503).ping() == 503
        with gunicorn(own, ENDPOINT_MODULE="tests.support.fake_model", FAKE_SECONDS=1) as server:
            nginx.wait_for(200)
            request = ["curl", "-s", "-i", "-T", BULLDOG, f"{nginx.url}/predict"]
            with subprocess.Popen(request, stdout=subprocess.PIPE, text=True) as cut:
                time.sleep(0.5)
                worker = int(worker_of(server))
                os.kill(server.process.pid, signal.SIGKILL)
                os.kill(worker, signal.SIGKILL)
                shown = cut.stdout.read()
        assert " 503 " in shown and "Retry-After: 5" in shown
        assert json.loads(shown.splitlines()[-1])["status"] == 503
        assert nginx.ping() == 503
        with gunicorn(own, ENDPOINT_MODEL="demo"):
            nginx.wait_for(200)
            assert nginx.curl("-T", BULLDOG, "/predict") == CAPTION
