"""The whole corpus against a real gunicorn, with good pictures beside it."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message

import pytest

from tests.stress import corpus
from tests.support.server import ROOT, Server

SLOW = 2.0  # seconds
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
    seconds: float


@dataclass
class Traffic:
    """Good pictures that are sent until told to stop, and what was wrong with them."""

    server: Server
    sent: int = 0
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.is_set():
            width = 100 + self.sent % 50
            answer = send(self.server, corpus.as_body(corpus.jpeg(width, 30)))
            if (answer.status, answer.body) != (200, b"%d by 30\n" % width):
                self.wrong.append(f"{width}: {answer}")
            self.sent += 1


def send(server: Server, request: bytes, half_closes: bool = False) -> Answer:
    """Send bytes as they are and read to the end, as a patient client does."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(request)
        if half_closes:
            client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as stream:
            received = stream.read()
    seconds = time.monotonic() - started
    start, _, rest = received.partition(b"\r\n")
    head, _, body = rest.partition(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 "), received[:200]
    return Answer(int(start.split()[1]), message_from_bytes(head), body, seconds)


@pytest.fixture(scope="module")
def server():
    with Server("gunicorn", ENDPOINT_MODULE="tests.support.fake_model") as server:
        yield server.wait_for(200)


@pytest.fixture(scope="module")
def stalled(server):
    """The answers to clients that stop sending; they take their time from the start."""
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
    traffic.over.set()
    thread.join()


@pytest.fixture(scope="module")
def answers(server, stalled, traffic):
    """Each case with its answer; one that was slow gets a second chance."""
    pairs = []
    for case in corpus.cases():
        answer = send(server, case.request, case.half_closes)
        if answer.seconds > SLOW:
            answer = send(server, case.request, case.half_closes)
        pairs.append((case, answer))
    traffic.over.set()
    return pairs


def test_every_case_gets_a_status_of_the_contract(answers):
    assert len(answers) > 80
    wrong = [
        f"{case.name}: {answer.status} {answer.body[:200]!r}, not {case.statuses}"
        for case, answer in answers
        if answer.status not in case.statuses
    ]
    assert not wrong, "\n".join(wrong)


def test_every_good_picture_gets_its_answer(answers):
    wrong = [
        f"{case.name}: {answer.body!r}, not {case.text!r}"
        for case, answer in answers
        if answer.status == 200 and case.text not in (None, answer.body.decode())
    ]
    assert not wrong, "\n".join(wrong)


def test_every_error_is_a_problem_in_json(answers):
    for case, answer in answers:
        if case.ours and answer.status >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json"
            problem = json.loads(answer.body)
            assert problem["status"] == answer.status, case.name
            assert problem["title"] and problem["detail"].endswith("."), case.name


def test_every_answer_carries_its_request_id_and_its_timings(answers):
    for case, answer in answers:
        if case.ours:
            assert answer.headers["X-Request-Id"], case.name
            assert "predict;dur=" in answer.headers["Server-Timing"], case.name


def test_no_answer_echoes_or_shows_internals(answers):
    for case, answer in answers:
        if case.ours:
            shown = answer.headers.as_bytes() + answer.body
            leaks = [text for text in (corpus.MARK, *INTERNALS) if text in shown]
            assert not leaks, f"{case.name}: {leaks}"


def test_no_case_is_slow(answers):
    slow = {case.name: answer.seconds for case, answer in answers}
    slow = {name: seconds for name, seconds in slow.items() if seconds > SLOW}
    assert not slow


def test_good_pictures_are_right_while_bad_ones_arrive(answers, traffic):
    assert traffic.sent > len(answers) / 10
    assert not traffic.wrong


def test_the_log_tells_of_no_failure(answers, server):
    assert "Traceback" not in server.log


@pytest.mark.parametrize("megabytes", (25, 200))
@pytest.mark.parametrize("options", ((), ("-H", "Transfer-Encoding: chunked")))
def test_curl_can_read_why_a_body_is_too_large(server, tmp_path, megabytes, options):
    large = tmp_path / "large.jpg"
    large.write_bytes(corpus.jpeg() + bytes(megabytes * 1_000_000))
    sent = ("--data-binary", f"@{large}", "--write-out", "%{http_code}")
    assert server.curl(*sent, *options, "/").endswith("413")


@pytest.mark.parametrize("megabytes", (25, 200))
@pytest.mark.parametrize("is_chunked", (False, True))
def test_a_client_that_sends_all_before_it_reads_gets_its_413(
    server, megabytes, is_chunked
):
    body = bytes(megabytes * 1_000_000)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    connection.request("POST", "/", pieces if is_chunked else body)
    try:
        assert connection.getresponse().status == 413
    finally:
        connection.close()


@pytest.mark.parametrize("name", ("body", "form", "chunks"))
def test_stalled_client_is_given_up(stalled, name):
    assert stalled[name].result().status == 400
