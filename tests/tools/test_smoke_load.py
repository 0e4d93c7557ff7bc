"""`flask smoke --load`: its figures, its thresholds, and what it does when refused."""

import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request

import pytest
from werkzeug.wrappers import Request as Received
from werkzeug.wrappers import Response

from endpoint import create_app
from tests.support.apps import ready
from tests.tools.test_smoke import Fake, run
from tools.smoke_load import LoadTest


class Refusing(Fake):
    """An endpoint that refuses every other file under load with a 503."""

    headers = {"Retry-After": "0"}

    def __init__(self):
        self.received, self.turn = [], threading.Lock()

    def caption(self, request):
        with self.turn:
            self.received.append(time.monotonic())
            number = len(self.received)
        if number % 2:  # The check before the load test gets the first answer.
            return super().caption(request)
        return Response(status=503, headers=self.headers)


def load(url, seconds, *options):
    status, output = run(url, "--api-key", "12345", "--load", seconds, *options)
    return status, output.splitlines()[-1]


def test_figures_of_a_working_endpoint_are_shown(serve):
    url = serve(ready(create_app("tests.support.fake_model")))
    status, output = run(url, "--load", "0.5", "--clients", "3", "--max-p99", "60")
    assert status == 0
    line = output.splitlines()[-1]
    assert line.startswith("ok      load: ") and "a second, p50 " in line
    assert re.search(r" with 3 clients \(200: \d+\)$", line)


def test_errors_over_the_threshold_fail(serve):
    status, line = load(serve(Refusing()), 0.5)
    assert status == 1 and line.startswith("FAILED  load: ")
    assert "% errors, over --max-errors 0; " in line and ", 503: " in line
    assert load(serve(Refusing()), 0.5, "--max-errors", "60")[0] == 0


def test_p99_over_the_threshold_fails(serve):
    class Slow(Fake):
        def caption(self, request):
            time.sleep(0.05)
            return super().caption(request)

    status, line = load(serve(Slow()), 0.2, "--max-p99", "0.01")
    assert status == 1 and ", over --max-p99 0.01; " in line


def test_client_waits_as_long_as_retry_after_says(serve):
    refusing = Refusing()
    refusing.headers = {"Retry-After": "2"}
    options = "--clients", "1", "--max-errors", "100"
    assert load(serve(refusing), 2.5, *options)[0] == 0
    check, refused, answered, *_ = refusing.received
    assert answered - refused >= 2


def test_load_test_is_not_run_after_a_failed_check(serve):
    broken = Fake()
    broken.refusal = lambda request: Response(status=500)
    assert "load" not in load(serve(broken), 30)[1]


def test_endpoint_that_vanished_is_an_error():
    test = LoadTest([Request("http://127.0.0.1:9/predict", b"x")], clients=2)
    test.run(0.1)
    assert test.error_percent() == 100 and "(no response: 2)" in str(test)


class KeepsConnections(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests = Counter()  # by the port of the client

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.requests[self.client_address[1]] += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_connections_are_kept():
    with ThreadingHTTPServer(("127.0.0.1", 0), KeepsConnections) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        test = LoadTest([Request(url, b"x")], clients=2)
        test.run(0.3)
        server.shutdown()
    requests = KeepsConnections.requests
    assert len(requests) == 2 < requests.total() == len(test.responses)


@pytest.mark.parametrize("files", [1, 3])
def test_every_file_is_sent(serve, files):
    received = set()

    def app(environ, start):
        request = Received(environ)
        received.add((request.get_data(), request.full_path, request.headers["X-A"]))
        return Response("x")(environ, start)

    url = serve(app)
    requests = [
        Request(f"{url}/predict?a=1", b"%d" % n, {"X-A": "b"}) for n in range(files)
    ]
    LoadTest(requests, clients=2).run(0.3)
    assert received == {(b"%d" % n, "/predict?a=1", "b") for n in range(files)}
