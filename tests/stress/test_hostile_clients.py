"""Clients that hold connections, threads or memory of a real server; others beside."""

import asyncio
import json
import resource
import socket
import threading
import time
from base64 import b64encode
from contextlib import ExitStack, suppress

import pytest

from tests.stress.chaos import serve
from tests.stress.process import resident_mb, worker_pid
from tests.support.apps import wait_until
from tests.support.images import make_image
from tests.support.load import closed_loop
from tests.support.server import Server

CRAWL = b"GET /ping HTTP/1.1\r\nX: "
PAGE = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n"
KINDS = {"silent": (1050, b""), "crawling": (330, CRAWL), "unreading": (330, PAGE * 40)}


@pytest.fixture(autouse=True)
def many_files():
    """Let this process open as many connections as the system allows."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 < most < 4000:
        pytest.skip("needs 4,000 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


class Crowd:
    """Hostile connections of one kind; `keep_up` replaces the closed ones."""

    def __init__(self, server: Server, count: int, data: bytes) -> None:
        self.server, self.data = server, data
        self.connections = [self.connect() for _ in range(count)]

    def connect(self) -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", self.server.port))
        connection.setblocking(False)
        with suppress(OSError):
            connection.send(self.data)
        return connection

    def keep_up(self) -> None:
        for number, connection in enumerate(self.connections):
            try:
                if self.data == CRAWL:
                    connection.send(b"a")
                elif not self.data and not connection.recv(1):
                    raise ConnectionResetError
            except BlockingIOError:
                pass
            except OSError:
                connection.close()
                self.connections[number] = self.connect()

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


def attack(server: Server, kinds: list[str], stack: ExitStack) -> list[Crowd]:
    crowds = [Crowd(server, *KINDS[kind]) for kind in kinds]
    for crowd in crowds:
        stack.callback(crowd.close)
    return crowds


@pytest.mark.attack(3)
@pytest.mark.parametrize("kinds", [*([kind] for kind in KINDS), list(KINDS)])
def test_hostile_clients_lock_nobody_out(kinds):
    with serve() as server, ExitStack() as stack:
        crowds, slowest = attack(server, kinds, stack), 0.0
        end = time.monotonic() + 6
        while time.monotonic() < end:
            for crowd in crowds:
                crowd.keep_up()
            started = time.monotonic()
            wait_until(lambda: server.ping() == 200)
            slowest = max(slowest, time.monotonic() - started)
            answers = asyncio.run(closed_loop(server.port, 1, [make_image()]))
            assert [answer.status for answer in answers] == [200]
        assert slowest < 20  # on a slow machine, with coverage measured
        started = time.monotonic()
        server.process.terminate()
        assert server.process.wait(60) == 0
        assert time.monotonic() - started < 10
        assert "Traceback" not in server.log


@pytest.mark.attack(10)
def test_large_json_bodies_leave_the_server_responsive_and_small():
    body = json.dumps({"image": b64encode(bytes(14_000_000)).decode()}).encode()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    head += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    statuses: list[bytes] = []

    def send() -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head + body)
            statuses.append(connection.recv(12))

    with serve() as server:
        before = resident_mb(worker_pid(server))
        senders = [threading.Thread(target=send) for _ in range(24)]
        for sender in senders:
            sender.start()
        most = 0.0
        while any(sender.is_alive() for sender in senders):
            assert server.ping() == 200
            most = max(most, resident_mb(worker_pid(server)))
        assert set(statuses) == {b"HTTP/1.1 415"} and len(statuses) == 24
        assert most - before < 1000
