"""A model without weights: it answers with an image's size, and fails on request."""

import os
import sys
import time

from model_helpers.image import decode_image
from model_interface.files import Upload

FAILS, IS_FATAL, HANGS, EXITS = 13, 17, 19, 23  # widths in pixels

SECONDS = float(os.environ.get("FAKE_SECONDS", 0))  # for a batch
MEMORY = int(os.environ.get("FAKE_MEMORY", 1000))  # inputs that fit in a batch
LOADING = float(os.environ.get("FAKE_LOADING", 0))  # seconds


class Model:
    name = "fake"
    revision = "1"
    max_batch = 32

    def __init__(self, device: str) -> None:
        self.device = device
        self.batches: list[list[int]] = []  # the widths in each
        time.sleep(LOADING)

    def decode(self, upload: Upload) -> tuple[int, int]:
        return decode_image(upload).size

    def predict(self, sizes: list[tuple[int, int]]) -> list[str]:
        widths = [width for width, height in sizes]
        self.batches.append(widths)
        time.sleep(SECONDS)
        if len(sizes) > MEMORY:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if FAILS in widths:
            raise ValueError("secret of the model")
        if IS_FATAL in widths:
            raise RuntimeError("CUDA error: device-side assert triggered")
        if HANGS in widths:
            time.sleep(1000)
        if EXITS in widths:
            sys.exit("the model ended its thread")
        return [f"{width} by {height}" for width, height in sizes]

    def encode(self, text: str) -> dict[str, str]:
        return {"caption": text}
