"""How many files are decoded at once, and for how long."""

import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

MAX_CPU_SECONDS = 1.5  # to decode one file
# gunicorn_worker/cores.py sets it where a container may use few of the host's cores.
count = os.environ.get("PYTHON_CPU_COUNT", "")
CORES = max(1, int(count) if count.isdigit() else os.cpu_count() or 1)

small_slots = threading.BoundedSemaphore(CORES)
# A large image takes up to 1 GB, and must leave cores to small ones and to the model.
# On Linux, os.nice lowers the priority of these threads only.
large_pool = ThreadPoolExecutor(max(1, CORES // 2), "decoder", os.nice, (15,))


class TimedBytesIO(io.BytesIO):
    """A file that ends after some CPU time, in case a decoder reads byte by byte."""

    def __init__(self, data: bytes, seconds: float = MAX_CPU_SECONDS) -> None:
        super().__init__(data)
        self.deadline = time.thread_time() + seconds

    def read(self, size: int | None = -1) -> bytes:
        if time.thread_time() > self.deadline:
            raise ValueError("decoding takes too long")
        return super().read(size)
