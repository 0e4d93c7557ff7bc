"""Decoders: the bytes of an upload to an image, a text or audio samples, or a 4xx."""

import io
import time
from typing import Any

MAX_CPU_SECONDS = 1.5  # to decode one file


class TimedBytesIO(io.BytesIO):
    """A file that ends after MAX_CPU_SECONDS, in case a decoder reads byte by byte."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.deadline = time.thread_time() + MAX_CPU_SECONDS

    def read(self, size: int | None = -1) -> bytes:
        if self.is_expired():
            raise ValueError("decoding takes too long")
        return super().read(size)

    def readinto(self, buffer: Any) -> int:
        """Report the end of the file; exceptions cannot cross libsndfile's callback."""
        return 0 if self.is_expired() else super().readinto(buffer)

    def is_expired(self) -> bool:
        return time.thread_time() > self.deadline
