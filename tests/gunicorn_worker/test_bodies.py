"""Large bodies wait for memory."""

import json
import threading

import pytest

from gunicorn_worker import bodies


@pytest.fixture(autouse=True)
def little_memory(monkeypatch):
    monkeypatch.setattr(bodies, "SMALL_BODY", 10)
    monkeypatch.setattr(bodies, "MEMORY", 100)
    monkeypatch.setattr(bodies, "WAIT_SECONDS", 0.05)


def call(size: int, application=lambda environ, start: [b"ok"], **environ) -> bytes:
    """Return the answer to a request whose body has a size."""
    environ = {"CONTENT_LENGTH": str(size)} | environ
    return b"".join(bodies.call_with_memory(application, environ, lambda *args: None))


@pytest.mark.attack(10)
def test_large_body_is_refused_while_others_take_the_memory():
    answers = []

    def application(environ, start):
        answers.append(call(60))
        answers.append(call(10))  # A small body does not wait.
        answers.append(call(40))
        return [b"ok"]

    assert call(60, application) == b"ok"
    assert json.loads(answers[0])["status"] == 503 and answers[1:] == [b"ok", b"ok"]


@pytest.mark.attack(10)
def test_large_body_waits_for_memory(monkeypatch):
    monkeypatch.setattr(bodies, "WAIT_SECONDS", 30)
    answers = []
    second = threading.Thread(target=lambda: answers.append(call(60)))

    def application(environ, start):
        second.start()
        second.join(0.05)
        assert second.is_alive()
        return [b"ok"]

    call(60, application)
    second.join(30)
    assert answers == [b"ok"]


def test_memory_is_free_again_after_an_error():
    def fail(environ, start):
        raise ValueError

    with pytest.raises(ValueError):
        call(100, fail)
    assert call(100) == b"ok"


def test_body_over_all_memory_is_read_alone():
    environ = {"CONTENT_LENGTH": "1000000"}
    answer = bodies.call_with_memory(ok, environ, lambda *args: None, 2_000_000)
    assert answer == [b"ok"]


def test_body_over_the_limit_does_not_wait():
    def application(environ, start):
        return bodies.call_with_memory(ok, {"CONTENT_LENGTH": "101"}, start, 100)

    assert call(100, application) == b"ok"


def ok(environ, start):
    return [b"ok"]


def test_chunked_body_counts_although_its_size_is_unknown(monkeypatch):
    monkeypatch.setattr(bodies, "MEMORY", 320)  # 20 for a chunked body
    answers = []

    def application(environ, start):
        answers.append(call(0, HTTP_TRANSFER_ENCODING="chunked"))
        return [b"ok"]

    call(310, application)
    assert b"503" in answers[0]
