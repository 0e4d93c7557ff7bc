"""deploy/runpod_queue.py behind the server of Runpod's SDK, and deploy/fetch.py."""

import base64
import json
import re
import socket
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from deploy import fetch
from tests.support.images import BULLDOG, CAPTION, make_image
from tests.support.server import Server, free_port

MAX_BYTES = 100_000


class JobServer(Server):
    """The SDK's local server, which accepts jobs by HTTP."""

    def __init__(self, **environment: object) -> None:
        module = (
            "-m",
            "deploy.runpod_queue",
            "--rp_serve_api",
            "--rp_log_level",
            "INFO",
        )
        port = free_port()
        address = ("--rp_api_host", "127.0.0.1", "--rp_api_port", str(port))
        super().__init__(sys.executable, *module, *address, **environment)
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.wait_for(404, 120)  # It has no /ping.

    def run(self, values: object) -> dict:
        body = json.dumps({"input": values}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/runsync", body, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("runpod")
    fake = {"ENDPOINT_MODULE": "tests.support.fake_model", "FAKE_SECONDS": 0.2}
    with JobServer(**fake) as server:
        yield server


def test_200_jobs_share_batches(server):
    def run(width: int) -> dict:
        return server.run({"image": to_base64(make_image(width, 8))})

    widths = [100 + number for number in range(200)]
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(run, widths))
    captions = [answer["output"]["caption"] for answer in answers]
    assert captions == [f"{width} by 8" for width in widths]
    batches = [int(size) for size in re.findall(r"batch (\d+)\)", server.log)]
    assert sum(batches) / len(batches) > 4


@pytest.mark.parametrize(
    "values, message",
    [
        ({"image": "not base64!"}, "not valid base64"),
        ({"image": to_base64(b"no image")}, "Not a supported image"),
        ({"image": to_base64(make_image(13, 8))}, "The model failed on this input"),
        ({}, "The request has no image"),
        ({"url": "file:///etc/passwd"}, "must begin with http"),
        ({"url": "http://127.0.0.1/x.png"}, "resolves to a private address"),
    ],
)
def test_invalid_job_fails_with_a_message(server, values, message):
    answer = server.run(values)
    assert answer["status"] == "FAILED"
    assert message in answer["error"]


def test_jobs_need_no_api_key():
    pytest.importorskip("runpod")
    with JobServer(ENDPOINT_MODEL="demo", ENDPOINT_API_KEY="secret") as server:
        answer = server.run({"image": to_base64(BULLDOG.read_bytes())})
    assert answer["output"]["caption"] == CAPTION


PRIVATE = (
    """127.0.0.1 127.1 0x7f000001 2130706433 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1
169.254.169.254 100.64.0.1 224.0.0.1 255.255.255.255 localhost [::1] [::] [fe80::1]
[fd00::1] [ff02::1] [::ffff:127.0.0.1] [::ffff:a9fe:a9fe] [::127.0.0.1]
[2002:7f00:1::] [64:ff9b::7f00:1] [2001:0:0:0:0:0:80ff:fffe] [fec0::1]""".split()
)


@pytest.mark.parametrize("host", PRIVATE)
def test_private_address_is_refused(host):
    with pytest.raises(fetch.FetchError, match="private address"):
        fetch.fetch(f"http://{host}/latest/meta-data", MAX_BYTES)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_address_is_accepted(address):
    assert fetch._is_public(address)


@pytest.mark.parametrize("url", ["ftp://x/", "file:///x", "//x/", "http://a:b@x/", "x"])
def test_url_without_http_or_with_a_user_name_is_refused(url):
    with pytest.raises(fetch.FetchError, match="must begin with http"):
        fetch.fetch(url, MAX_BYTES)


class Site(BaseHTTPRequestHandler):
    """A server that redirects, fails, sends too much or sends too slowly."""

    def do_GET(self):
        redirects = {"/in": "/image", "/out": "http://127.0.0.2/", "/loop": "/loop"}
        path = self.path.partition("?")[0]
        status = 302 if path in redirects else 404 if path == "/missing" else 200
        self.send_response(status)
        self.send_header("Location", redirects.get(path, ""))
        if path == "/short":
            self.send_header("Content-Length", "50")
        self.end_headers()
        for _ in range(600 if path == "/slow" else 1):
            data = b"x" * (MAX_BYTES + 1) if path == "/large" else b"image"
            self.wfile.write(data)
            time.sleep(0.01 if path == "/slow" else 0)
        self.server.completed.append(path)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site(monkeypatch):
    """Serve a Site at a private address that counts as public."""
    monkeypatch.setattr(fetch, "_is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(fetch, "TIMEOUT", 1.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.completed = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.attack(17)
def test_body_shorter_than_its_content_length_is_refused(site):
    with pytest.raises(fetch.FetchError, match="unreachable or too slow"):
        fetch.fetch(f"{site.url}/short", MAX_BYTES)


def test_file_is_fetched_directly_and_after_a_redirect(site):
    assert fetch.fetch(f"{site.url}/image?a=b", MAX_BYTES) == b"image"
    assert fetch.fetch(f"{site.url}/in", MAX_BYTES) == b"image"


@pytest.mark.parametrize(
    "path, message",
    [
        ("/out", "private address"),
        ("/loop", "status 302"),
        ("/missing", "status 404"),
        ("/large", "larger than 100,000 bytes"),
        ("/slow", "too slow"),
    ],
)
def test_site_that_misbehaves_is_refused_with_a_message(site, path, message):
    with pytest.raises(fetch.FetchError, match=message):
        fetch.fetch(f"{site.url}{path}", MAX_BYTES)
    assert "/slow" not in site.completed  # It was cut off before its end.


def resolve_names_to(monkeypatch, *answers: list[str]) -> list:
    """Let names below .example resolve to the answers in turn; return the unused."""
    unused = list(answers)

    def resolve(host, port, *_, **__):
        addresses = unused.pop(0) if host.endswith(".example") else [host]
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return unused


def test_name_is_resolved_once_so_that_it_cannot_become_private(site, monkeypatch):
    unused = resolve_names_to(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    url = f"http://rebound.example:{site.server_port}/x"
    assert fetch.fetch(url, MAX_BYTES) == b"image"
    assert len(unused) == 1


def test_name_with_a_private_address_among_others_is_refused(site, monkeypatch):
    resolve_names_to(monkeypatch, ["127.0.0.1", "127.0.0.2"])
    with pytest.raises(fetch.FetchError, match="private address"):
        fetch.fetch("http://rebound.example/", MAX_BYTES)
