"""Memory for bodies, and turns to decode."""

import threading

import pytest
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.test import EnvironBuilder

from endpoint import limits
from tests.support.uploads import LimitedRequest


def large_request(monkeypatch, size: int) -> LimitedRequest:
    """Return a request whose body has a size, where 100 bytes fit into memory."""
    monkeypatch.setattr(limits, "SMALL_BODY", 10)
    monkeypatch.setattr(limits, "BODIES_MEMORY", 100)
    environ = EnvironBuilder(method="POST", data=bytes(size)).get_environ()
    return LimitedRequest(environ)


def test_large_bodies_wait_for_memory(monkeypatch):
    request = large_request(monkeypatch, 60)
    with limits.body_memory(request, 1):
        with pytest.raises(ServiceUnavailable), limits.body_memory(request, 0.01):
            pass
        with limits.body_memory(large_request(monkeypatch, 10), 0.01):
            pass  # A small body does not wait.
    with limits.body_memory(request, 0.01):
        pass


def test_body_over_all_memory_is_read_alone(monkeypatch):
    with limits.body_memory(large_request(monkeypatch, 1000), 0.01):
        pass
    assert limits._bodies_size == 0


def test_no_more_files_are_decoded_at_once_than_there_are_cores(monkeypatch):
    monkeypatch.setattr(limits, "small_slots", threading.BoundedSemaphore(1))
    began = threading.Event()
    with limits.decode_slot(lambda: None):
        second = threading.Thread(target=decode, args=[began.set])
        second.start()
        assert not began.wait(0.1)
    assert began.wait(30)
    second.join()


def decode(check):
    with limits.decode_slot(check):
        pass


def test_file_that_nobody_waits_for_is_not_decoded():
    def check():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        decode(check)
    decode(lambda: None)  # The slot is free again.
