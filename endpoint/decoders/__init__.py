"""Decoders: the bytes of an upload to an image, a text or audio samples, or a 4xx."""

import io
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from endpoint.uploads import Upload

MAX_CPU_SECONDS = 1.5  # to decode one file
SMALL_SLOTS = threading.BoundedSemaphore(os.cpu_count() or 1)
# A large image takes up to 1 GB, and must leave cores to small ones and to the model.
# On Linux, os.nice lowers the priority of these threads only.
LARGE_SLOTS = ThreadPoolExecutor(
    max(1, (os.cpu_count() or 1) // 2), "decoder", os.nice, (10,)
)


@contextmanager
def slot(upload: Upload) -> Iterator[None]:
    """Wait for a turn to decode; raise if nobody waits for the answer any more."""
    with SMALL_SLOTS:
        upload.check()
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
