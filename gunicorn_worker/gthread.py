"""gunicorn's thread worker, with limits on how long it waits for a client."""

import contextlib
import json
import resource
import select
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import _exit
from typing import Any

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

from endpoint.log_format import formatter
from gunicorn_worker.bodies import MEMORY, reserve_memory

# Seconds that a client has in total to send the head of a request, to send its body,
# to receive the response, and to close a connection that we end.
HEAD_TIMEOUT, BODY_TIMEOUT, RESPONSE_TIMEOUT, CLOSE_TIMEOUT = 10, 60, 30, 3
# Seconds between two parts of a body. It is longer than HEAD_TIMEOUT and the second
# until that is noticed, because gunicorn logs a traceback if it ends within a head.
READ_TIMEOUT = 12
SEND_BUFFER = 1 << 16  # bytes that wait for a client that does not read
STOP_TIMEOUT = 3  # seconds for any of these while the server stops
OTHER_FILES = 64  # that a process has open beside its connections
GRACE = 0.1  # seconds in which a thread reads a request that has arrived
# A refused request waits for nine times the CPU time that it took, so that a client who
# sends such requests in a loop takes a tenth of a core.
REFUSAL_DELAY, MAX_REFUSAL_DELAY = 9, 2.0  # times, seconds
ACCEPTED_AT_ONCE = 32  # A pass of gunicorn's loop costs more than an accept.


class Clients:
    """The connections whose thread waits for the client, the longest first."""

    def __init__(self) -> None:
        # Since when, for how many seconds, and how the socket is then shut down.
        self._waiting: dict[TConn, tuple[float, float, int]] = {}
        self._ending: set[TConn] = set()  # to have room for others
        self.stopped = float("inf")  # when the server began to stop
        self._checked = 0.0  # when all were checked

    def waits(self) -> list[tuple[TConn, tuple[float, float, int]]]:
        return list(self._waiting.items())  # Other threads change it meanwhile.

    def wait_for(self, conn: TConn, seconds: float, how: int = socket.SHUT_RD) -> None:
        self.stop_waiting(conn)  # It moves to the end: the first has waited longest.
        self._waiting[conn] = time.monotonic(), seconds, how

    def stop_waiting(self, conn: TConn) -> None:
        self._waiting.pop(conn, None)
        self._ending.discard(conn)

    def end(self, conn: TConn, how: int) -> None:
        """Shut down a socket for which a thread waits, so that its call returns."""
        if self._waiting.pop(conn, None) is None:
            self._ending.discard(conn)
            return
        with contextlib.suppress(OSError):
            socket.socket.shutdown(conn.sock, how)  # An SSLSocket's own is not safe.

    def end_longest(self, count: int) -> None:
        """End the `count` longest waits, less those that are ending already.

        Those of less than GRACE seconds are left: their request may have arrived.
        """
        latest = time.monotonic() - GRACE
        waits = [conn for conn, (since, *_) in self.waits() if since < latest]
        for conn in waits[: max(0, count - len(self._ending))]:
            self._ending.add(conn)  # before its thread may be done
            self.end(conn, socket.SHUT_RDWR)

    def end_overdue(self) -> None:
        now = time.monotonic()
        if now < self._checked + 0.1:  # gunicorn's loop calls this after every event.
            return
        self._checked = now
        for conn, (since, seconds, how) in self.waits():
            stop = max(since, self.stopped) + STOP_TIMEOUT
            if now > min(since + seconds, stop):
                self.end(conn, how)


class TimeoutThreadWorker(ThreadWorker):
    """A worker that ends connections whose clients are slow or silent.

    A connection has a thread only from the first byte of a request on. When threads or
    connections run out, the one that has waited longest for its client is ended.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.clients = Clients()
        self.max_body = MEMORY
        self.local = threading.local()

    def init_process(self) -> None:
        self.worker_connections = raise_file_limit(self.worker_connections)
        set_limits(self.sockets)
        super().init_process()

    def get_thread_pool(self) -> Any:
        pool: Any = super().get_thread_pool()
        started = start_threads(pool, self.cfg.threads)
        if started == self.cfg.threads:
            return pool
        # The system allows no more, and the model needs some, too.
        self.cfg.set("threads", max(1, started // 2))
        pool.shutdown()
        return self.get_thread_pool()

    def accept(self, listener: socket.socket) -> None:
        """Accept the connections that have come, but not a whole rush at once."""
        for _ in range(ACCEPTED_AT_ONCE):
            if not self.accept_one(listener):
                break

    def accept_one(self, listener: socket.socket) -> bool:
        try:
            client, address = listener.accept()
        except BlockingIOError:  # Another worker has accepted it.
            return False
        except OSError as error:
            self.log.error("A connection cannot be accepted: %s.", error.strerror)
            self.end_longest_idle()
            time.sleep(0.1)
            return False
        conn = TConn(self.cfg, client, address, listener.getsockname())
        conn.timeout = time.monotonic() + HEAD_TIMEOUT
        self.nr_conns += 1
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(client, selectors.EVENT_READ, readable)
        if self.nr_conns >= self.worker_connections:
            self.end_longest_idle()
        return True

    def end_longest_idle(self) -> None:
        """End the connection without a thread that has been idle longest."""
        for conns in (self.pending_conns, self.keepalived_conns):
            if conns:
                conns[0].timeout = 0
                break
        super().murder_pending()
        self.murder_keepalived()

    def enqueue_req(self, conn: TConn) -> None:
        super().enqueue_req(conn)
        self.make_room()

    def make_room(self) -> bool:
        """End the longest waiting if more connections need a thread than exist."""
        idle = len(self.pending_conns) + len(self.keepalived_conns)
        missing = self.nr_conns - idle - self.cfg.threads
        self.clients.end_longest(missing)
        return missing > 0

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        # Waits under GRACE were left: look again after that time.
        super().wait_for_and_dispatch_events(GRACE if self.make_room() else timeout)

    def handle(self, conn: Any) -> Any:
        self.clients.wait_for(conn, HEAD_TIMEOUT)
        self.local.conn = conn
        keep_alive = super().handle(conn)
        if keep_alive and conn.parser.unreader.buf.getvalue():
            keep_alive = False  # No client needs pipelining, and it costs much at once.
        if keep_alive is False:
            self.clients.wait_for(conn, CLOSE_TIMEOUT, socket.SHUT_RDWR)
            drain(conn.sock)  # Otherwise gunicorn does it on the thread that accepts.
        self.clients.stop_waiting(conn)
        return keep_alive

    def call_application(
        self, application: Any, environ: Any, start_response: Any
    ) -> Any:
        """Call a WSGI application that tells when it has received the body."""
        conn = self.local.conn
        self.clients.wait_for(conn, BODY_TIMEOUT)
        environ["endpoint.body_received"] = partial(self.clients.stop_waiting, conn)
        environ["endpoint.is_disconnected"] = partial(is_disconnected, conn.sock)

        def start(*args: Any, **options: Any) -> Any:
            self.clients.wait_for(conn, RESPONSE_TIMEOUT, socket.SHUT_RDWR)
            return start_response(*args, **options)

        with reserve_memory(environ, self.max_body) as environ["endpoint.has_memory"]:
            return application(environ, start)

    def murder_pending(self) -> None:
        """End overdue connections; gunicorn calls this at least once a second."""
        if not self.alive:  # Only accepted requests are answered from now on.
            for conn in self.pending_conns:
                conn.timeout = 0
        super().murder_pending()
        self.clients.end_overdue()

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.clients.stopped = min(self.clients.stopped, time.monotonic())
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        _exit(0)  # gunicorn's own handler can deadlock with its thread pool.


def delay_refusals(application: Any, environ: Any, start_response: Any) -> Any:
    """Call a WSGI application; a response with a status of 4xx is sent later."""
    is_refused, started = False, time.thread_time()

    def start(status: str, *args: Any) -> Any:
        nonlocal is_refused
        is_refused = status.startswith("4")
        return start_response(status, *args)

    body = application(environ, start)
    if is_refused:
        seconds = REFUSAL_DELAY * (time.thread_time() - started)
        time.sleep(min(seconds, MAX_REFUSAL_DELAY))
    return body


def start_threads(pool: ThreadPoolExecutor, count: int) -> int:
    """Start a pool's threads now: in a rush each start would wait for the others.

    Return how many the system allows.
    """
    begin = threading.Event()
    with contextlib.suppress(RuntimeError):
        for _ in range(count):
            pool.submit(begin.wait)
    begin.set()
    return len(pool._threads)


def set_limits(listeners: Iterable[socket.socket]) -> None:
    """Limit the connections that are accepted, which inherit these options."""
    timeout = struct.pack("ll", READ_TIMEOUT, 0)
    for each in listeners:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


def raise_file_limit(connections: int) -> int:
    """Allow as many open files as the system does; return how many connections fit."""
    with contextlib.suppress(ValueError, OSError):  # macOS has a limit of its own.
        _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        if limit != resource.RLIM_INFINITY:
            return min(connections, limit - OTHER_FILES)
    return connections


class EndpointLogger(Logger):
    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(formatter())


def drain(connection: socket.socket) -> None:
    """Read what the client still sends, or it could miss the response."""
    deadline = time.monotonic() + CLOSE_TIMEOUT
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(1 << 16):
                break
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)  # so that gunicorn has nothing to wait for


def is_disconnected(connection: socket.socket) -> bool:
    """Tell whether the client has closed its end of the connection."""
    poll = select.poll()
    poll.register(connection, getattr(select, "POLLRDHUP", 0))  # absent on macOS
    return bool(poll.poll(0))


DETAIL = {
    414: "The URL is too long: send long fields in a form or in JSON.",
    431: "The headers are too long.",
    500: "The server failed.",
}


def write_problem(sock: socket.socket, status_int: int, reason: str, mesg: str) -> None:
    """Refuse malformed HTTP in the format of the endpoint's other errors."""
    detail = DETAIL.get(status_int, "The HTTP is malformed.")
    problem = {"title": reason, "status": status_int, "detail": detail}
    body = json.dumps(problem) + "\n"
    head = f"HTTP/1.1 {status_int} {reason}\r\nConnection: close\r\n"
    head += f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}"
    util.write_nonblock(sock, f"{head}\r\n\r\n{body}".encode())


util.write_error = write_problem  # gunicorn's own is HTML, and it offers no hook.
