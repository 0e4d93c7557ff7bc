"""A model that takes half a millisecond a picture and no core, as one on a GPU does."""

import time

from endpoint import model

SECONDS = 0.0005  # a picture


class Model(model.Model):
    def predict(self, images: list) -> list[str]:
        time.sleep(SECONDS * len(images))
        return ["asleep"] * len(images)
