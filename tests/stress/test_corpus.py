"""The whole corpus against a real gunicorn, together with valid images."""

import http.client
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message

import pytest

from tests.stress import corpus
from tests.stress.process import cpu_seconds, worker_pid
from tests.support.apps import FAKE_MODEL
from tests.support.server import ROOT, Server

MAX_CPU_SECONDS = 2.0  # of the server, for one request
INTERNALS = (
    b"Traceback",
    b".py",
    b"PIL",
    b"0x7f",
    b"site-packages",
    str(ROOT).encode(),
)


@dataclass
class Answer:
    """What a server sent back for the bytes of a request."""

    status: int
    headers: Message
    body: bytes


@dataclass
class Traffic:
    """Valid images that are sent until `stop` is set, and the wrong answers."""

    server: Server
    sent: int = 0
    wrong: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            width = 100 + self.sent % 50
            answer = send(self.server, corpus.as_body(corpus.jpeg(width, 30)))
            if (answer.status, answer.body) != (200, b"%d by 30\n" % width):
                self.wrong.append(f"{width}: {answer}")
            self.sent += 1


def send(server: Server, request: bytes, half_closes: bool = False) -> Answer:
    """Send a request as it is and read the whole answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(request)
        if half_closes:
            client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as stream:
            received = stream.read()
    start, _, rest = received.partition(b"\r\n")
    head, _, body = rest.partition(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 "), received[:200]
    return Answer(int(start.split()[1]), message_from_bytes(head), body)


@pytest.fixture(scope="module")
def server():
    with Server("gunicorn", ENDPOINT_MODULE=FAKE_MODEL) as server:
        yield server.wait_for(200)


@pytest.fixture(scope="module")
def stalled(server):
    """Start clients that stop sending; return their answers, which take 10 s."""
    whole = corpus.jpeg()
    requests = {
        "body": corpus.http(whole[:100], "image/jpeg", Content_Length=len(whole)),
        "form": corpus.form(corpus.part(whole)).replace(b"th: ", b"th: 9", 1),
        "chunks": corpus.chunked(whole)[:-20],
    }
    with ThreadPoolExecutor(len(requests)) as clients:
        yield {
            name: clients.submit(send, server, sent) for name, sent in requests.items()
        }


@pytest.fixture(scope="module")
def traffic(server):
    traffic = Traffic(server)
    thread = threading.Thread(target=traffic.run)
    thread.start()
    yield traffic
    traffic.stop.set()
    thread.join()


@pytest.fixture(scope="module")
def answers(server, stalled, traffic):
    """Return each case with its answer."""
    return [
        (case, send(server, case.request, case.half_closes)) for case in corpus.cases()
    ]


def test_every_case_gets_a_status_of_the_contract(answers):
    assert len(answers) > 80
    wrong = [
        f"{case.name}: {answer.status} {answer.body[:200]!r}, not {case.statuses}"
        for case, answer in answers
        if answer.status not in case.statuses
    ]
    assert not wrong, "\n".join(wrong)


def test_every_valid_image_gets_its_answer(answers):
    wrong = [
        f"{case.name}: {answer.body!r}, not {case.text!r}"
        for case, answer in answers
        if answer.status == 200 and case.text not in (None, answer.body.decode())
    ]
    assert not wrong, "\n".join(wrong)


def test_every_error_is_a_json_problem(answers):
    for case, answer in answers:
        if case.reaches_app and answer.status >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json"
            problem = json.loads(answer.body)
            assert problem["status"] == answer.status, case.name
            assert problem["title"] and problem["detail"].endswith("."), case.name


def test_every_answer_has_its_headers(answers):
    for case, answer in answers:
        if case.reaches_app:
            assert answer.headers["X-Request-Id"], case.name
            assert answer.headers["X-Model"] == "fake@1", case.name
            assert "predict;dur=" in answer.headers["Server-Timing"], case.name


def test_no_answer_repeats_the_request_or_shows_internals(answers):
    for case, answer in answers:
        if case.reaches_app:
            shown = answer.headers.as_bytes() + answer.body
            leaks = [text for text in (corpus.MARK, *INTERNALS) if text in shown]
            assert not leaks, f"{case.name}: {leaks}"


def test_valid_images_are_answered_while_invalid_ones_arrive(answers, traffic):
    assert traffic.sent > len(answers) / 10
    assert not traffic.wrong


def test_no_failure_is_logged(answers, server):
    assert "Traceback" not in server.log


def test_no_case_takes_much_cpu_time(answers, server, traffic):
    traffic.stop.set()
    process, slow = worker_pid(server), {}
    for case in corpus.cases():
        before = cpu_seconds(process)
        send(server, case.request, case.half_closes)
        used = cpu_seconds(process) - before
        if used > MAX_CPU_SECONDS:
            slow[case.name] = used
    assert not slow


@pytest.mark.parametrize("megabytes", (25, 200))
@pytest.mark.parametrize("options", ((), ("-H", "Transfer-Encoding: chunked")))
def test_curl_gets_413_for_a_large_body(server, tmp_path, megabytes, options):
    large = tmp_path / "large.jpg"
    large.write_bytes(corpus.jpeg() + bytes(megabytes * 1_000_000))
    sent = ("--data-binary", f"@{large}", "--write-out", "%{http_code}")
    assert server.curl(*sent, *options, "/").endswith("413")


@pytest.mark.parametrize("megabytes", (25, 200))
@pytest.mark.parametrize("is_chunked", (False, True))
def test_client_that_reads_after_sending_all_gets_413(server, megabytes, is_chunked):
    body = bytes(megabytes * 1_000_000)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    connection.request("POST", "/", pieces if is_chunked else body)
    try:
        assert connection.getresponse().status == 413
    finally:
        connection.close()


@pytest.mark.parametrize("name", ("body", "form", "chunks"))
def test_stalled_client_gets_400(stalled, name):
    assert stalled[name].result().status == 400
