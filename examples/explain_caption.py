"""An image to its caption and, on request, where the model looked for each word."""

from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

import endpoint.model
from model_interface.files import Upload
from vit_gpt2.attention_maps import Explanation, attention_grid, explain


class Model(endpoint.model.Model):
    class Fields(BaseModel):
        explain: bool = Field(False, description="Add a map of the image to each word.")

    def decode(self, upload: Upload) -> tuple[np.ndarray, bool]:
        return super().decode(upload), upload.fields.explain

    def batch_key(self, input: tuple[np.ndarray, bool]) -> bool:
        return input[1]  # A batch is explained as a whole or not at all.

    def predict(self, inputs: list[tuple]) -> list[str | Explanation]:
        images = [image for image, _ in inputs]
        if not inputs[0][1]:
            return super().predict(images)
        return explain(self.search, self.tokenizer, images)

    def encode(self, output: str | Explanation) -> dict[str, Any]:
        if not isinstance(output, Explanation):
            return super().encode(output)
        return super().encode(output.caption) | {"words": output.words}

    def draw(self, output: str | Explanation) -> Image.Image | None:
        return attention_grid(output) if isinstance(output, Explanation) else None
