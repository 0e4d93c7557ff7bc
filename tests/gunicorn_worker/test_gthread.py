"""gunicorn's worker with limits on clients, and its log in the endpoint's format."""

import errno
import json
import logging
import os
import selectors
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from contextlib import suppress
from functools import partial

import pytest
from gunicorn.config import Config

from endpoint.log_format import formatter
from gunicorn_worker import gthread
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
def serve(monkeypatch):
    """Return a function that runs a worker with four threads and eight connections."""
    workers = []

    def start(application=echo, **limits) -> Running:
        quick = {"STOP_TIMEOUT": 0.2, "CLOSE_TIMEOUT": 0.2}
        for name, seconds in (quick | limits).items():
            monkeypatch.setattr(gthread, name, seconds)
        workers.append(Running(application))
        return workers[-1]

    yield start
    for running in workers:
        running.stop()


class Running:
    """A worker whose loop runs in a thread of this process."""

    def __init__(self, application, **settings):
        config = Config()
        options = {"threads": 4, "worker_connections": 8, "graceful_timeout": 20}
        for name, value in (options | settings).items():
            config.set(name, value)
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = listener.getsockname()
        log = gthread.EndpointLogger(config)
        self.worker = worker = gthread.TimeoutThreadWorker(
            1, os.getppid(), [listener], None, 30, config, log
        )
        worker.tpool = worker.get_thread_pool()
        worker.poller = selectors.DefaultSelector()
        worker.method_queue.init()
        worker.wsgi = partial(worker.call_application, application)
        worker.wsgi = partial(gthread.delay_refusals, worker.wsgi)
        self.thread = threading.Thread(target=worker.run)
        self.thread.start()
        self.clients = []

    def connect(self, data: bytes = b"", buffer: int = 0) -> socket.socket:
        """Return a connection on which the data were sent."""
        client = socket.socket()
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(30)
        client.connect(self.address)
        client.sendall(data)
        self.clients.append(client)
        return client

    def get(self) -> bytes:
        return read_all(self.connect(GET.replace(b"\r\n\r\n", CLOSE)))

    def stop(self) -> None:
        self.worker.handle_exit(15, None)
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.worker.tmp.close()
        for client in self.clients:
            client.close()


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"\r\nConnection: close\r\n\r\n"
CPU_SECONDS = 0.05
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"


def echo(environ, start_response):
    """Answer with the length of the body that was received."""
    body = environ["wsgi.input"].read()
    environ["endpoint.body_received"]()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"%3d" % len(body)]


def work_and_answer(status):
    """Return an application that takes CPU_SECONDS."""

    def application(environ, start_response):
        ends = time.thread_time() + CPU_SECONDS
        while time.thread_time() < ends:
            pass
        start_response(status, [("Content-Length", "0")])
        return []

    return application


def large(environ, start_response):
    start_response("200 OK", [("Content-Length", "5000000")])
    return [bytes(5_000_000)]


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    data = b""
    with suppress(OSError):  # also SSL's own
        while part := client.recv(1 << 16):
            data += part
    return data


def read_answer(client: socket.socket) -> bytes:
    """Read one answer of `echo` on a connection that stays open."""
    data = b""
    while not data.endswith(b"\r\n\r\n  0"):
        data += client.recv(1000)
    return data


@pytest.mark.attack(3)
def test_silent_connection_takes_no_thread_and_is_closed(serve):
    running = serve(HEAD_TIMEOUT=0.5)
    silent = [running.connect() for _ in range(6)]
    wait_until(lambda: running.worker.nr_conns == 6)
    assert not running.worker.clients.waits()
    assert b"200 OK" in running.get()
    assert [read_all(client) for client in silent] == [b""] * 6


@pytest.mark.attack(3)
def test_head_has_to_arrive_in_a_total_time(serve):
    client = serve(HEAD_TIMEOUT=0.3).connect(b"GET / HTTP/1.1\r\nX: ")
    with pytest.raises(OSError):  # The connection is closed.
        while True:
            client.sendall(b"a")
            time.sleep(0.05)


@pytest.mark.attack(3)
def test_body_has_to_arrive_in_a_total_time(serve):
    client = serve(BODY_TIMEOUT=0.3).connect(POST + b"some")
    assert read_all(client).endswith(b"  4")  # Werkzeug would see a truncated body.


@pytest.mark.attack(3)
def test_response_has_to_be_read_in_a_total_time(serve):
    running = serve(large, RESPONSE_TIMEOUT=0.3)
    client = running.connect(GET, buffer=4096)
    wait_until(lambda: running.worker.clients.waits())
    wait_until(lambda: not running.worker.nr_conns)
    assert len(read_all(client)) < 5_000_000


@pytest.mark.attack(3)
def test_crawling_clients_lose_their_threads_to_others(serve):
    running = serve(HEAD_TIMEOUT=60)
    crawling = [running.connect(b"GET / HTTP/1.1\r\nX: ") for _ in range(4)]
    wait_until(lambda: len(running.worker.clients.waits()) == 4)
    assert b"200 OK" in running.get()
    assert read_all(crawling[0]) == b""  # the one that has waited longest
    wait_until(lambda: len(running.worker.clients.waits()) == 3)


@pytest.mark.attack(3)
def test_client_whose_thread_is_done_at_once_counts_no_longer(monkeypatch):
    class Conn:
        @property
        def sock(self):
            return self

    clients = gthread.Clients()
    monkeypatch.setattr(gthread, "GRACE", -1)
    monkeypatch.setattr(
        gthread.socket.socket, "shutdown", lambda conn, how: clients.stop_waiting(conn)
    )
    for _ in range(3):
        clients.wait_for(Conn(), 10)
    for left in (2, 1, 0):
        clients.end_longest(1)
        assert len(clients.waits()) == left


@pytest.mark.attack(3)
def test_unreading_clients_lose_their_threads_to_others(serve):
    running = serve(large, RESPONSE_TIMEOUT=60)
    for _ in range(4):
        running.connect(GET, buffer=4096)
    wait_until(lambda: len(running.worker.clients.waits()) == 4)
    assert len(running.get()) > 5_000_000


@pytest.mark.attack(3)
def test_silent_clients_lose_their_connections_to_others(serve):
    running = serve(HEAD_TIMEOUT=60)
    silent = [running.connect() for _ in range(8)]
    assert b"200 OK" in running.get()
    assert read_all(silent[0]) == b""
    assert running.worker.nr_conns <= 8


def test_kept_connections_are_closed_after_silent_ones(serve):
    running = serve(HEAD_TIMEOUT=60)
    kept = running.connect(GET)
    assert b"200 OK" in read_answer(kept)
    for _ in range(9):
        running.connect()
    wait_until(lambda: running.worker.nr_conns == 7)
    kept.sendall(GET)
    assert b"200 OK" in read_answer(kept)


def test_request_that_is_received_may_take_its_time(serve):
    finish = threading.Event()

    def slow(environ, start_response):
        environ["wsgi.input"].read()
        environ["endpoint.body_received"]()
        finish.wait(30)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    limits = {"HEAD_TIMEOUT": 0.1, "BODY_TIMEOUT": 0.1, "RESPONSE_TIMEOUT": 0.1}
    running = serve(slow, **limits)
    client = running.connect(POST + bytes(100))
    silent = running.connect()
    read_all(silent)  # by now the limits have passed
    finish.set()
    assert b"200 OK" in client.recv(1000)


def test_requests_wait_for_threads_that_are_answering(serve):
    finish = threading.Event()

    def slow(environ, start_response):
        environ["endpoint.body_received"]()
        finish.wait(30)
        return echo(environ, start_response)

    running = serve(slow)
    clients = [running.connect(GET) for _ in range(7)]
    wait_until(lambda: running.worker.nr_conns == 7)
    time.sleep(1.5)  # The worker has looked for clients to end.
    finish.set()
    assert all(b"200 OK" in client.recv(1000) for client in clients)


def test_pipelined_request_is_not_answered(serve):
    client = serve().connect(GET + GET)
    assert read_all(client).count(b"200 OK") == 1


@pytest.mark.attack(7)
@pytest.mark.parametrize("data", [b"", b"GET / HTT", POST + b"some", GET])
def test_stopping_waits_for_no_client(serve, data):
    running = serve(large if data == GET else echo)
    running.connect(data, buffer=4096)
    wait_until(lambda: running.worker.nr_conns)
    running.stop()


@pytest.mark.attack(7)
def test_stopping_waits_for_accepted_requests(serve):
    accepted, finish = threading.Event(), threading.Event()

    def slow(environ, start_response):
        environ["endpoint.body_received"]()
        accepted.set()
        finish.wait(30)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    running = serve(slow)
    client = running.connect(GET)
    accepted.wait(30)
    running.worker.handle_exit(15, None)
    silent = running.connect()
    threading.Timer(0.5, finish.set).start()
    assert read_all(client).endswith(b"ok")
    assert read_all(silent) == b""


@pytest.mark.attack(4)
def test_too_many_open_files_end_no_worker(serve, monkeypatch):
    running = serve(HEAD_TIMEOUT=60)
    idle = running.connect()
    wait_until(lambda: running.worker.pending_conns)

    class Listener:
        def accept(self):
            raise OSError(errno.EMFILE, "Too many open files")

    running.worker.method_queue.defer(running.worker.accept, Listener())
    assert read_all(idle) == b""  # It makes room.
    assert b"200 OK" in running.get()


@pytest.mark.attack(4)
def test_half_of_the_threads_that_the_system_allows_are_used(serve, monkeypatch):
    def start(thread):
        if threading.active_count() > most:
            raise RuntimeError("can't start new thread")
        real(thread)

    worker = serve().worker
    most, real = threading.active_count() + 1, threading.Thread.start
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        pool = worker.get_thread_pool()
    assert worker.cfg.threads == 1 and pool.submit(len, "a").result() == 1
    pool.shutdown()


@pytest.mark.attack(16)
def test_malformed_http_is_refused_as_a_problem(serve):
    head, _, body = read_all(serve().connect(b"GET\r\n\r\n")).partition(b"\r\n\r\n")
    assert b" 400 " in head and b"application/problem+json" in head
    assert json.loads(body)["status"] == 400


@pytest.mark.attack(17)
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_limits_hold_with_tls(serve, tmp_path, monkeypatch):
    files = {
        "keyfile": str(tmp_path / "key"),
        "certfile": str(tmp_path / "certificate"),
    }
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -days 1".split()
    command += ["-keyout", files["keyfile"], "-out", files["certfile"]]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setattr(gthread, "HEAD_TIMEOUT", 1)
    running = Running(echo, **files)
    context = ssl.create_default_context(cafile=files["certfile"])
    context.check_hostname = False
    no_handshake = running.connect(b"\x16")
    client = context.wrap_socket(running.connect())
    client.sendall(b"GET / HTTP/1.1\r\nX: a")
    assert b"HTTP" not in read_all(no_handshake) + read_all(client)
    answered = context.wrap_socket(running.connect())
    answered.sendall(GET)
    assert b"200 OK" in answered.recv(1000)
    running.clients += [client, answered]
    running.stop()


def test_application_can_check_whether_its_client_is_connected(serve):
    checks = []

    def application(environ, start_response):
        checks.append(environ["endpoint.is_disconnected"])
        wait_until(checks[0])
        start_response("200 OK", [])
        return []

    client = serve(application).connect(GET)
    wait_until(lambda: checks)
    assert not checks[0]()
    client.close()


@pytest.mark.attack(2)
def test_refused_request_waits_for_nine_times_its_cpu_time(serve):
    started = time.monotonic()
    assert b"422" in serve(work_and_answer("422 Refused")).get()
    assert time.monotonic() - started > (1 + 9) * CPU_SECONDS


@pytest.mark.parametrize("status", ["200 OK", "503 Full"])
def test_other_requests_do_not_wait(serve, status):
    running = serve(work_and_answer(status), REFUSAL_DELAY=1e6, MAX_REFUSAL_DELAY=60)
    assert status.encode() in running.get()  # The client has a timeout of 30 s.


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


def test_quit_signal_ends_the_process_at_once(serve, monkeypatch):
    statuses = []
    monkeypatch.setattr(gthread, "_exit", statuses.append)
    serve().worker.handle_quit(3, None)
    assert statuses == [0]


@pytest.mark.parametrize("value", ["text", "json"])
def test_gunicorn_logs_in_the_format_of_the_endpoint(monkeypatch, value):
    monkeypatch.setenv("ENDPOINT_LOG", value)
    monkeypatch.setattr(logging.getLogger("gunicorn.error"), "handlers", [])
    logger = gthread.EndpointLogger(Config())
    (handler,) = logger.error_log.handlers
    assert type(handler.formatter) is type(formatter())
    record = logging.LogRecord("a", logging.INFO, "", 1, "Booting", None, None)
    line = handler.format(record)
    if value == "json":
        assert json.loads(line)["message"] == "Booting"


@pytest.mark.attack(4)
def test_connections_fit_into_the_limit_of_open_files(monkeypatch):
    limits = []
    monkeypatch.setattr(gthread.resource, "getrlimit", lambda kind: (256, 1024))
    monkeypatch.setattr(
        gthread.resource, "setrlimit", lambda *args: limits.append(args)
    )
    assert gthread.raise_file_limit(640) == 640
    assert gthread.raise_file_limit(2000) == 1024 - gthread.OTHER_FILES
    assert {limit for _, limit in limits} == {(1024, 1024)}


def test_accepted_connections_inherit_the_limits(monkeypatch):
    monkeypatch.setattr(gthread, "READ_TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gthread.set_limits([listener])
        with socket.create_connection(listener.getsockname()):
            server, _ = listener.accept()
            with server, pytest.raises(BlockingIOError):
                server.setblocking(True)
                server.recv(1)
