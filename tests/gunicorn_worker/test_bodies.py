"""Large bodies wait for memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gunicorn_worker import bodies


@pytest.fixture(autouse=True)
def little_memory(monkeypatch):
    monkeypatch.setattr(bodies, "SMALL_BODY", 10)
    monkeypatch.setattr(bodies, "MEMORY", 100)
    monkeypatch.setattr(bodies, "WAIT_SECONDS", 0.05)


@contextmanager
def body(size: int, max_body: int = 100, **environ: str) -> Iterator[bool]:
    """Tell whether there is memory for a body of a size."""
    environ = {"CONTENT_LENGTH": str(size)} | environ
    with bodies.reserve_memory(environ, max_body) as is_free:
        yield is_free


def has_memory(*args: int, **environ: str) -> bool:
    with body(*args, **environ) as is_free:
        return is_free


@pytest.mark.attack(10)
def test_large_body_is_refused_while_others_take_the_memory():
    with body(60) as is_free:
        assert is_free
        assert not has_memory(60)
        assert has_memory(10)  # A small body does not wait.
        assert has_memory(40)


@pytest.mark.attack(10)
def test_large_body_waits_for_memory(monkeypatch):
    monkeypatch.setattr(bodies, "WAIT_SECONDS", 30)
    answers = []
    second = threading.Thread(target=lambda: answers.append(has_memory(60)))
    with body(60):
        second.start()
        second.join(0.05)
        assert second.is_alive()
    second.join(30)
    assert answers == [True]


def test_memory_is_free_again_after_an_error():
    with pytest.raises(ValueError), body(100):
        raise ValueError
    assert has_memory(100)


def test_body_over_all_memory_is_read_alone():
    assert has_memory(1_000_000, 2_000_000)


def test_body_over_the_limit_does_not_wait():
    with body(100):
        assert has_memory(101, 100)


def test_chunked_body_counts_although_its_size_is_unknown(monkeypatch):
    monkeypatch.setattr(bodies, "MEMORY", 320)  # 20 for a chunked body
    with body(310, 320):
        assert not has_memory(0, 320, HTTP_TRANSFER_ENCODING="chunked")


def test_chunked_body_counts_where_uploads_are_small(monkeypatch):
    monkeypatch.setattr(bodies, "MEMORY", 320)  # 20 for a chunked body
    with body(310, 320):
        assert not has_memory(0, 12, HTTP_TRANSFER_ENCODING="chunked")
