"""How much is held in memory and decoded at once, so that all have a turn."""

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from werkzeug.exceptions import abort
from werkzeug.wrappers import Request

SMALL_BODY, BODIES_MEMORY = 1_000_000, 256_000_000  # bytes
MAX_CPU_SECONDS = 1.5  # to decode one file
CORES = os.cpu_count() or 1

json_turn = threading.Lock()  # While JSON is parsed, no other thread runs.
small_slots = threading.BoundedSemaphore(CORES)
# A large image takes up to 1 GB, and must leave cores to small ones and to the model.
# On Linux, os.nice lowers the priority of these threads only.
large_slots = ThreadPoolExecutor(max(1, CORES // 2), "decoder", os.nice, (10,))
_bodies, _bodies_size = threading.Condition(), 0


@contextmanager
def body_memory(request: Request, seconds: float) -> Iterator[None]:
    """Wait until the body has room among those in memory; a small one always has."""
    global _bodies_size
    size = request.content_length or request.max_content_length or BODIES_MEMORY
    size = 0 if size <= SMALL_BODY else min(size, BODIES_MEMORY)
    with _bodies:
        if not _bodies.wait_for(lambda: _bodies_size + size <= BODIES_MEMORY, seconds):
            abort(503, "Too many large uploads arrive at once: retry later.")
        _bodies_size += size
    try:
        yield
    finally:
        with _bodies:
            _bodies_size -= size
            _bodies.notify_all()


@contextmanager
def decode_slot(check: Callable[[], None]) -> Iterator[None]:
    """Wait for a turn to decode; then `check` may raise, if it is no longer needed."""
    with small_slots:
        check()
        yield


class TimedBytesIO(io.BytesIO):
    """A file that ends after some CPU time, in case a decoder reads byte by byte."""

    def __init__(self, data: bytes, seconds: float = MAX_CPU_SECONDS) -> None:
        super().__init__(data)
        self.deadline = time.thread_time() + seconds

    def read(self, size: int | None = -1) -> bytes:
        if time.thread_time() > self.deadline:
            raise ValueError("decoding takes too long")
        return super().read(size)
