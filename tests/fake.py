"""A model without weights, for tests: it names a picture's size, and obeys its width.

The widths let real servers be tested through plain HTTP: see `BEHAVIOUR`.
"""

import os
import time

from endpoint import inputs

SECONDS = float(os.environ.get("FAKE_SECONDS", 0))  # that a batch takes


class Model:
    name = "fake"
    revision = "1"
    max_batch = 8

    def __init__(self, device: str) -> None:
        self.device = device
        self.batches: list[list] = []

    def decode(self, upload):
        return inputs.image(upload)

    def predict(self, images):
        self.batches.append(images)
        time.sleep(SECONDS)
        return [f"{image.width} by {image.height}" for image in images]

    def encode(self, text):
        return {"caption": text}
