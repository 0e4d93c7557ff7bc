"""gunicorn's worker with limits on clients, and its log in the endpoint's format."""

import json
import logging
import socket
import struct
import threading
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import ThreadWorker

import gunicorn_worker as gthread
from endpoint import telemetry
from tests.support.apps import wait_until


@pytest.fixture
def connection():
    """Return the server's and the client's end of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield server, client


@pytest.fixture
def worker():
    """Return a worker that was not started."""
    return gthread.TimeoutThreadWorker.__new__(gthread.TimeoutThreadWorker)


def test_open_connection_is_not_disconnected(connection):
    server, client = connection
    assert not gthread.is_disconnected(server)
    client.sendall(b"the next request")
    assert not gthread.is_disconnected(server)


def test_closed_connection_is_disconnected(connection):
    server, client = connection
    client.sendall(b"data that was not read")
    client.close()
    wait_until(lambda: gthread.is_disconnected(server))


def test_reset_connection_is_disconnected(connection):
    server, client = connection
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    wait_until(lambda: gthread.is_disconnected(server))


def test_application_can_check_whether_its_client_is_connected(
    connection, worker, monkeypatch
):
    def load_wsgi(self):
        self.wsgi = lambda environ, start_response: environ["endpoint.is_disconnected"]

    monkeypatch.setattr(ThreadWorker, "load_wsgi", load_wsgi)
    server, client = connection
    worker.load_wsgi()
    is_disconnected = worker.wsgi({"gunicorn.socket": server}, None)
    assert not is_disconnected()
    client.close()
    wait_until(is_disconnected)


def test_reading_from_a_connection_has_a_timeout(worker, monkeypatch):
    monkeypatch.setattr(ThreadWorker, "init_process", lambda self: None)
    size = struct.calcsize("ll")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker.sockets = [listener]
        worker.init_process()
        option = listener.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, size)
    assert struct.unpack("ll", option) == (gthread.READ_TIMEOUT, 0)


def test_accepted_connection_inherits_the_timeout(worker, monkeypatch):
    monkeypatch.setattr(ThreadWorker, "init_process", lambda self: None)
    monkeypatch.setattr(gthread, "READ_TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker.sockets = [listener]
        worker.init_process()
        with socket.create_connection(listener.getsockname()):
            server, _ = listener.accept()
            with server, pytest.raises(BlockingIOError):
                server.setblocking(True)
                server.recv(1)


def test_drain_reads_what_the_client_still_sends(connection):
    server, client = connection
    sent = threading.Thread(target=send_and_close, args=[client, bytes(10_000_000)])
    sent.start()
    gthread.drain(server)
    sent.join()
    assert server.recv(1) == b""


def send_and_close(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    assert client.recv(1) == b""  # The server has ended its side.
    client.close()


def test_drain_ends_without_the_client(connection, monkeypatch):
    monkeypatch.setattr(gthread, "CLOSE_TIMEOUT", 0.05)
    server, client = connection
    gthread.drain(server)
    assert server.recv(1) == b""  # Nothing more can be received.


def test_drain_accepts_a_connection_that_is_gone(connection):
    server, client = connection
    server.close()
    gthread.drain(server)


@pytest.mark.parametrize("keep_alive, drained", [(False, 1), (True, 0), (None, 0)])
def test_only_a_connection_that_ends_is_drained(
    worker, monkeypatch, keep_alive, drained
):
    connections = []
    monkeypatch.setattr(ThreadWorker, "handle", lambda self, conn: keep_alive)
    monkeypatch.setattr(gthread, "drain", connections.append)
    assert worker.handle(SimpleNamespace(sock="socket")) is keep_alive
    assert connections == ["socket"] * drained


def test_quit_signal_ends_the_process_at_once(worker, monkeypatch):
    statuses = []
    monkeypatch.setattr(gthread.os, "_exit", statuses.append)
    worker.handle_quit(3, None)
    assert statuses == [0]


@pytest.mark.parametrize("value", ["text", "json"])
def test_gunicorn_logs_in_the_format_of_the_endpoint(monkeypatch, value):
    monkeypatch.setenv("ENDPOINT_LOG", value)
    monkeypatch.setattr(logging.getLogger("gunicorn.error"), "handlers", [])
    logger = gthread.EndpointLogger(Config())
    (handler,) = logger.error_log.handlers
    assert type(handler.formatter) is type(telemetry.formatter())
    record = logging.LogRecord("a", logging.INFO, "", 1, "Booting", None, None)
    line = handler.format(record)
    if value == "json":
        assert json.loads(line)["message"] == "Booting"
