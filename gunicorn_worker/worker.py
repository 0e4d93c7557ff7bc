"""gunicorn's worker for the endpoint, which tells other workers if it is ready."""

import logging
import mmap
import time
from functools import partial
from os import _exit
from typing import Any

from gunicorn.errors import HaltServer

from endpoint.batcher import EXIT_CRASHED, State
from endpoint.settings import EXIT_BOOT_FAILED
from gunicorn_worker.gthread import TimeoutThreadWorker, delay_refusals

RETRY_SECONDS = 10.0  # before the next attempt to load a model that was loaded before
# Bytes that all workers share, because they are forked after this import.
ready = mmap.mmap(-1, 4096)  # number n is 1 while worker n is ready
was_ready = mmap.mmap(-1, 1)  # 1 once any worker was ready
ends_server = mmap.mmap(-1, 1)  # 1 once a worker has exited with EXIT_BOOT_FAILED


class EndpointWorker(TimeoutThreadWorker):
    """A worker that accepts no connections while it is not ready and others are."""

    number = 0  # gunicorn.conf.py numbers the workers.
    batcher: Any = None

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.batcher = self.wsgi.extensions["batcher"]
        self.max_body = self.wsgi.config["MAX_CONTENT_LENGTH"]
        self.batcher.exit = end_process
        # The delay comes last, when the memory of the request is free again.
        self.wsgi: Any = partial(self.call_application, self.wsgi)
        self.wsgi = partial(delay_refusals, self.wsgi)

    def murder_pending(self) -> None:
        """Do what is due at least once a second."""
        super().murder_pending()
        is_ready = self.batcher.state == State.READY
        was_ready[0] |= is_ready
        ready[self.number] = is_ready and self.alive
        self.set_accept_enabled(self.nr_conns < self.worker_connections)

    def set_accept_enabled(self, enabled: bool | None) -> None:
        may_accept = self.alive and (ready[self.number] or not any(ready[:]))
        super().set_accept_enabled(bool(enabled and may_accept))


def halt_if_loading_failed(server: Any) -> None:
    """End the server if a worker has died before any was ready, not at a request.

    gunicorn would start the next one, without end: an import that needs another CPU,
    for example, ends the process with a signal.
    """
    is_missed = server.LISTENERS and len(server.WORKERS) < server.num_workers
    if is_missed and not was_ready[0]:
        server.log.critical("The model cannot be loaded: its process has died.")
        raise HaltServer("Worker failed to boot.", EXIT_BOOT_FAILED)


def end_process(status: int) -> None:
    """End the worker; a model that was loaded before may be loaded again.

    At EXIT_BOOT_FAILED gunicorn would end all workers.
    """
    if status == EXIT_BOOT_FAILED and was_ready[0]:
        message = "The model will be loaded again in %g s."
        logging.getLogger("endpoint").warning(message, RETRY_SECONDS)
        time.sleep(RETRY_SECONDS)
        status = EXIT_CRASHED
    if status == EXIT_BOOT_FAILED and ends_server[0]:
        status = EXIT_CRASHED  # gunicorn itself would fail at a second one.
    ends_server[0] |= status == EXIT_BOOT_FAILED
    _exit(status)
