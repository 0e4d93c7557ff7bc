"""How the process runs in production; `gunicorn` reads this file by itself."""

import contextlib
import ctypes
import itertools
import os

from gunicorn_worker import cores, metrics

metrics.make_folder()  # before the endpoint imports prometheus_client
cores.limit_threads(cores.count_cores())  # before it imports torch

from gunicorn_worker import gthread, json_log  # noqa: E402
from gunicorn_worker.worker import (  # noqa: E402
    EndpointWorker,
    halt_if_loading_failed,
    ready,
)

settings = json_log.read_settings_and_log()

wsgi_app = "endpoint:serve()"
# Containers and Runpod set PORT; their proxies connect from outside.
bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
# Each process loads the model. With several GPUs, start one worker for each GPU; with
# `gunicorn --workers 2` on one GPU, both share it.
workers = 1
worker_class = EndpointWorker
# A waiting input holds a thread: one for every slot of the queue and of a batch, and
# 224 for refusals, for /ping and for slow clients.
threads = settings.queue + 32 + 224
# Another 2,000 connections may be idle; these take no thread. When connections or
# threads run out, those that have waited longest for their client are closed, so that
# /ping is always answered.
worker_connections = threads + 2000
# The model is loaded on a thread, so nothing slow runs before the first heartbeat.
timeout = 30
# The model is loaded after the fork, because CUDA does not survive a fork.
preload_app = False
# Accepted requests may take their whole deadline after SIGTERM.
graceful_timeout = int(settings.deadline) + 5
# Proxies keep connections for 60 s; they should be the first to close.
keepalive = 75
# A heartbeat file on a disk can block; one in memory cannot.
worker_tmp_dir = metrics.memory_folder()
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
        json_log.log_output()
    if problem := metrics.start_worker():
        server.log.warning("This worker serves without metrics: %s.", problem)


def on_reload(server):
    server.log.warning("Reloading: requests get a 503 until the model is loaded again.")


def child_exit(server, worker):
    ready[worker.number] = 0
    metrics.end_worker(worker.pid)
    halt_if_loading_failed(server)


def on_exit(server):
    metrics.remove_folder()
