"""gunicorn's thread worker, with limits on how long a client may keep a thread."""

import contextlib
import os
import select
import socket
import struct
import time
from functools import partial
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from endpoint.telemetry import formatter

READ_TIMEOUT = 10  # seconds between two parts of a request
CLOSE_TIMEOUT = 3.0  # seconds for a client to close a connection that we end


class TimeoutThreadWorker(ThreadWorker):
    def init_process(self) -> None:
        # Connections inherit this. A client that stops sending would keep its thread.
        for each in self.sockets:
            timeout = struct.pack("ll", READ_TIMEOUT, 0)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi: Any = partial(add_disconnect_check, self.wsgi)

    def handle(self, conn: Any) -> Any:
        keep_alive = super().handle(conn)
        if keep_alive is False:
            drain(conn.sock)  # gunicorn would wait on the thread that accepts.
        return keep_alive

    def handle_quit(self, sig: int, frame: Any) -> None:
        os._exit(0)  # gunicorn's own handler can deadlock with its thread pool.


class EndpointLogger(Logger):
    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(formatter())


def drain(connection: socket.socket) -> None:
    """Read until the client closes; cut off while sending, it would see no response."""
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


def add_disconnect_check(application: Any, environ: Any, start_response: Any) -> Any:
    """Call a WSGI application with `endpoint.is_disconnected` in its environment."""
    check = partial(is_disconnected, environ["gunicorn.socket"])
    environ["endpoint.is_disconnected"] = check
    return application(environ, start_response)
