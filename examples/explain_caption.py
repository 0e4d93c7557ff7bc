"""An image to its caption and, on request, where the model looked for each word."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import endpoint.model
from endpoint.uploads import Upload
from vit_gpt2.attention_maps import Explanation, attention_grid, explain


class ExplainRequest(NamedTuple):
    image: np.ndarray  # (224, 224, 3)


class Model(endpoint.model.Model):
    fields = {"explain": "Any value adds a map of the image to each word."}

    def decode(self, upload: Upload) -> np.ndarray | ExplainRequest:
        image = super().decode(upload)
        return ExplainRequest(image) if upload.fields.get("explain") else image

    def batch_key(self, input: np.ndarray | ExplainRequest) -> type:
        return type(input)  # A batch is explained as a whole or not at all.

    def predict(self, inputs: list) -> list[str | Explanation]:
        if not isinstance(inputs[0], ExplainRequest):
            return super().predict(inputs)
        images = [request.image for request in inputs]
        return explain(self.search, self.tokenizer, images)

    def encode(self, output: str | Explanation) -> dict[str, Any]:
        if not isinstance(output, Explanation):
            return super().encode(output)
        return super().encode(output.caption) | {"words": output.words}

    def draw(self, output: str | Explanation) -> Image.Image | None:
        return attention_grid(output) if isinstance(output, Explanation) else None
