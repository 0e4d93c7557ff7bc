"""deploy/runpod.py behind the SDK's own local server, and what it refuses to fetch."""

import base64
import json
import re
import socket
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from deploy import fetch
from tests.conftest import picture
from tests.endpoint.test_serve import BULLDOG, CAPTION
from tests.support.server import Server, free_port

MOST = 100_000


class Worker(Server):
    """The queue's worker; its local server takes jobs by HTTP."""

    def __init__(self, **environment: object) -> None:
        module = ("-m", "deploy.runpod", "--rp_serve_api", "--rp_log_level", "INFO")
        port = free_port()
        address = ("--rp_api_host", "127.0.0.1", "--rp_api_port", str(port))
        super().__init__("python", *module, *address, **environment)
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.wait_for(404, 120)  # It knows no /ping.

    def run(self, given: object) -> dict:
        body = json.dumps({"input": given}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/runsync", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def worker():
    pytest.importorskip("runpod")
    with Worker(ENDPOINT_MODULE="tests.support.fake_model", FAKE_SECONDS=0.2) as server:
        yield server


def test_200_jobs_share_batches(worker):
    def run(width: int) -> dict:
        return worker.run({"image": encoded(picture(width, 8))})

    widths = [100 + number for number in range(200)]
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(run, widths))
    captions = [answer["output"]["caption"] for answer in answers]
    assert captions == [f"{width} by 8" for width in widths]
    batches = [int(size) for size in re.findall(r"batch (\d+)\)", worker.log)]
    assert sum(batches) / len(batches) > 4


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"image": "not base64!"}, "not valid base64"),
        ({"image": encoded(b"no picture")}, "This is no picture"),
        ({"image": encoded(picture(13, 8))}, "The model failed on this input"),
        ({}, "Send the picture"),
        ({"url": "file:///etc/passwd"}, "A URL begins with http"),
        ({"url": "http://127.0.0.1/x.png"}, "leads to a private address"),
    ],
)
def test_bad_job_fails_with_a_sentence(worker, given, sentence):
    answer = worker.run(given)
    assert answer["status"] == "FAILED"
    assert sentence in answer["error"]


def test_key_for_http_is_not_asked_of_jobs():
    pytest.importorskip("runpod")
    with Worker(ENDPOINT_MODEL="demo", ENDPOINT_API_KEY="secret") as server:
        answer = server.run({"image": encoded(BULLDOG.read_bytes())})
    assert answer["output"]["caption"] == CAPTION.strip()


PRIVATE = (
    """127.0.0.1 127.1 0x7f000001 2130706433 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1
169.254.169.254 100.64.0.1 224.0.0.1 255.255.255.255 localhost [::1] [::] [fe80::1]
[fd00::1] [ff02::1] [::ffff:127.0.0.1] [::ffff:a9fe:a9fe] [::127.0.0.1]
[2002:7f00:1::] [64:ff9b::7f00:1] [2001:0:0:0:0:0:80ff:fffe] [fec0::1]""".split()
)


@pytest.mark.parametrize("host", PRIVATE)
def test_private_address_is_refused(host):
    with pytest.raises(fetch.Refused, match="private address"):
        fetch.fetch(f"http://{host}/latest/meta-data", MOST)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_address_is_taken(address):
    assert fetch._is_public(address)


@pytest.mark.parametrize("url", ["ftp://x/", "file:///x", "//x/", "http://a:b@x/", "x"])
def test_other_schemes_and_users_are_refused(url):
    with pytest.raises(fetch.Refused, match="begins with http"):
        fetch.fetch(url, MOST)


class Site(BaseHTTPRequestHandler):
    """A stranger's server."""

    def do_GET(self):
        moved = {"/in": "/picture", "/out": "http://127.0.0.2/", "/ever": "/ever"}
        path = self.path.partition("?")[0]
        self.send_response(302 if path in moved else 404 if path == "/no" else 200)
        self.send_header("Location", moved.get(path, ""))
        self.end_headers()
        for _ in range(600 if path == "/slow" else 1):
            self.wfile.write(b"x" * (MOST + 1) if path == "/large" else b"picture")
            time.sleep(0.01 if path == "/slow" else 0)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site(monkeypatch):
    """Its address; this one private address counts as public."""
    monkeypatch.setattr(fetch, "_is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(fetch, "SECONDS", 1.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_file_is_fetched_also_where_it_has_moved(site):
    assert fetch.fetch(f"{site}/picture?a=b", MOST) == b"picture"
    assert fetch.fetch(f"{site}/in", MOST) == b"picture"


@pytest.mark.parametrize(
    "path, sentence",
    [
        ("/out", "private address"),
        ("/ever", "status 302"),
        ("/no", "status 404"),
        ("/large", "has over 100,000 bytes"),
        ("/slow", "in time"),
    ],
)
def test_site_that_misbehaves_gets_a_sentence(site, path, sentence):
    started = time.monotonic()
    with pytest.raises(fetch.Refused, match=sentence):
        fetch.fetch(f"{site}{path}", MOST)
    assert time.monotonic() - started < 3


def names(monkeypatch, *answers: list[str]) -> list:
    """Let every name resolve to the answers, in turn."""
    left = list(answers)

    def resolve(host, port, *_, **__):
        found = left.pop(0) if host.endswith(".example") else [host]
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return left


def test_name_is_resolved_once_so_that_it_cannot_turn_private(site, monkeypatch):
    port = site.rpartition(":")[2]
    left = names(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    assert fetch.fetch(f"http://rebound.example:{port}/x", MOST) == b"picture"
    assert len(left) == 1


def test_name_with_one_private_address_among_others_is_refused(site, monkeypatch):
    names(monkeypatch, ["127.0.0.1", "127.0.0.2"])
    with pytest.raises(fetch.Refused, match="private address"):
        fetch.fetch("http://rebound.example/", MOST)
