"""How the process runs in production; `gunicorn` reads this file by itself."""

import contextlib
import ctypes
import io
import itertools
import logging
import os
import shutil
import sys
import tempfile
import threading

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # else a folder on disk
METRICS = "PROMETHEUS_MULTIPROC_DIR"  # the folder where each worker writes its metrics
METRICS_PREFIX = "endpoint-metrics-"
METRICS_BYTES = 1 << 16  # of each of a worker's files, of which it uses about a third


def reserve_metrics():
    """Write this process's files of metrics; without space for them, raise OSError.

    prometheus_client maps them into memory, where a full disk would end the process.
    """
    names = ("counter", "histogram", "gauge_livesum")
    paths = [f"{os.environ[METRICS]}/{name}_{os.getpid()}.db" for name in names]
    try:
        for path in paths:
            with open(path, "wb") as file:
                file.write(bytes(METRICS_BYTES))
    except OSError:
        for path in filter(os.path.exists, paths):
            os.remove(path)
        raise


def make_metrics_folder():
    """Share metrics between the workers, or let each count in its own memory."""
    if METRICS_PREFIX in os.environ.get(METRICS, ""):
        return  # after a reload
    for parent in (MEMORY, None):
        with contextlib.suppress(OSError):
            os.environ[METRICS] = tempfile.mkdtemp(prefix=METRICS_PREFIX, dir=parent)
            return reserve_metrics()
    os.environ.pop(METRICS, None)


# Before prometheus_client is imported, which the endpoint does.
make_metrics_folder()

import prometheus_client.values  # noqa: E402
from prometheus_client import multiprocess  # noqa: E402

from endpoint import gthread  # noqa: E402
from endpoint.settings import read_settings  # noqa: E402
from endpoint.telemetry import configure_logging  # noqa: E402

configure_logging()
with contextlib.redirect_stderr(io.StringIO()) as sentence:
    try:
        settings = read_settings()
    except SystemExit:
        if os.environ.get("ENDPOINT_LOG", "").strip() == "json":
            logging.critical(sentence.getvalue().strip())
        else:
            sys.__stderr__.write(sentence.getvalue())
        shutil.rmtree(os.environ.get(METRICS, ""), ignore_errors=True)
        raise

wsgi_app = "endpoint:serve()"
# Containers and Runpod set PORT; their proxies connect from outside.
bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
# Each process loads the model. With several GPUs, start one worker for each GPU; with
# `gunicorn --workers 2` on one GPU, both share it.
workers = 1
worker_class = gthread.TimeoutThreadWorker
# A waiting input holds a thread: one for every slot of the queue and of a batch, and
# 224 for refusals, for /ping and for slow clients.
threads = settings.queue + 32 + 224
# The model is loaded on a thread, so nothing slow runs before the first heartbeat.
timeout = 30
# The model is loaded after the fork, because CUDA does not survive a fork.
preload_app = False
# Accepted requests may take their whole deadline after SIGTERM.
graceful_timeout = int(settings.deadline) + 5
# Proxies keep connections for 60 s; they should be the first to close.
keepalive = 75
# A heartbeat file on a disk can block; one in memory cannot.
worker_tmp_dir = MEMORY
# The control socket needs a home directory, which a container may lack.
control_socket_disable = True
# The endpoint logs each request itself, with its timings and its batch.
accesslog = None
logger_class = gthread.EndpointLogger


def pre_fork(server, worker):
    """Number the workers; the replacement of a worker takes its number."""
    taken = {other.number for other in server.WORKERS.values()}
    worker.number = next(n for n in itertools.count() if n not in taken)


def post_fork(server, worker):
    os.environ["GUNICORN_WORKER"] = str(worker.number)  # read by endpoint/device.py
    # M_ARENA_MAX = 1: otherwise each thread that decodes images keeps the memory it
    # freed, and the process grew by a third over 50,000 requests.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(-8, 1)
    if settings.log == "json":
        log_output()
    try:
        if METRICS in os.environ:
            reserve_metrics()
    except OSError as error:
        prometheus_client.values.MmapedDict = NoMetrics
        server.log.warning("This worker serves without metrics: %s.", error)


def log_output():
    """Log each line that libraries write to stdout and stderr in this process."""
    stderr = os.fdopen(os.dup(2), "w", buffering=1)
    for name in ("", "gunicorn.error"):
        for handler in logging.getLogger(name).handlers:
            if type(handler) is logging.StreamHandler:
                handler.setStream(stderr)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # A full pipe loses lines, but blocks no thread.
    for descriptor in (1, 2):
        os.dup2(writer, descriptor)
    threading.Thread(target=log_lines, args=[reader], daemon=True).start()


def log_lines(reader):
    for line in open(reader, errors="replace"):
        logging.getLogger("endpoint").warning("%s", line.rstrip())


class NoMetrics:
    """What prometheus_client writes to in a worker that has no space for metrics."""

    def __init__(self, path):
        pass

    def read_value(self, key):
        return 0.0, 0.0  # value, timestamp

    def write_value(self, key, value, timestamp):
        pass

    def close(self):
        pass


def on_reload(server):
    server.log.warning("Reloading: requests get a 503 until the model is loaded again.")


def child_exit(server, worker):
    """Remove the gauges of a worker that has ended from the sum."""
    if METRICS in os.environ:
        multiprocess.mark_process_dead(worker.pid)


def on_exit(server):
    if METRICS in os.environ:
        shutil.rmtree(os.environ[METRICS], ignore_errors=True)
