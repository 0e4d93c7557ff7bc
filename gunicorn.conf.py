"""How the process runs in production; `gunicorn` reads this file by itself."""

import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import struct
import tempfile
import time

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from endpoint import logs


class PatientWorker(ThreadWorker):
    """gunicorn's worker with threads, less three ways to stand still."""

    def init_process(self):
        # A client that stops sending, be it amidst its headers, would keep its thread
        # for good. Connections inherit this limit from the sockets that listen.
        for listener in self.sockets:
            seconds = struct.pack("ll", 10, 0)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        super().init_process()

    def handle(self, conn):
        # gunicorn waits up to 2 s for a client to close its end, on the thread that
        # accepts all connections: a few that stay would keep everybody else out.
        kept = super().handle(conn)
        if kept is False:
            linger(conn.sock)
        return kept

    def handle_quit(self, sig, frame):
        # SIGINT and SIGQUIT mean now. gunicorn asks the pool of threads to stop and
        # locks up if the signal comes while a request is handed to that pool.
        os._exit(0)


class EndpointLogger(Logger):
    """gunicorn's own log in the form of the endpoint's, be that lines or JSON."""

    def setup(self, cfg):
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.formatter())


def linger(connection, seconds=3.0):
    """Read until the client has closed: one cut off while sending sees no answer."""
    until = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(1 << 16):
                break
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)  # Now gunicorn finds nothing to wait for.


def number(name, default):
    """Read a setting; the app refuses, with a sentence, a value that is no number."""
    try:
        return float(os.environ.get(name, default))
    except ValueError:
        return default


wsgi_app = "endpoint:create_app()"
# Containers and Runpod name the port in PORT, and their proxies come from outside.
bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
# One process holds the model; two would hold it twice. With several GPUs, as many as
# those: each takes one. With `gunicorn --workers 2` on one GPU, both share it.
workers = 1
worker_class = PatientWorker
# Waiting inputs hold a thread each: one for every place in the queue and in a batch,
# and 224 to refuse, to answer /ping and to bear slow clients.
threads = int(number("ENDPOINT_QUEUE", 64)) + 32 + 224
# Loading happens on a thread, so that nothing slow runs before the first heartbeat.
timeout = 30
# The model is loaded after the fork: CUDA does not survive one.
preload_app = False
# Accepted requests may take their whole deadline after SIGTERM.
graceful_timeout = int(number("ENDPOINT_DEADLINE", 90)) + 5
# Longer than the 60 s for which proxies keep connections, so that they close first.
keepalive = 75
# A heartbeat file on a disk can block; memory cannot.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
# The control socket wants a home directory, which containers may lack.
control_socket_disable = True
# The endpoint logs a line a request (endpoint/logs.py), which knows its batch as well.
accesslog = None
logger_class = EndpointLogger

# Each process writes its metrics here, so that any of them can tell the sum.
_metrics = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="metrics-")


def pre_fork(server, worker):
    """Number the workers; the successor of one that ended takes its number."""
    taken = {other.number for other in server.WORKERS.values()}
    worker.number = next(n for n in itertools.count() if n not in taken)


def post_fork(server, worker):
    os.environ["GUNICORN_WORKER"] = str(worker.number)  # endpoint.device reads it.
    # Else each thread that decodes pictures keeps what it freed in a pool of its own
    # (M_ARENA_MAX): the process grew by a third over 50,000 requests.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(-8, 1)


def child_exit(server, worker):
    """Take the gauges of a process that ended out of the sum."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server):
    shutil.rmtree(_metrics, ignore_errors=True)
