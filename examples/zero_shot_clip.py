"""An image and labels to the probability of each label, with CLIP."""

from typing import Annotated

import numpy as np
import torch
from PIL import ImageOps
from pydantic import BaseModel, Field
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from model_helpers.image import decode_image
from model_helpers.pretrained import load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "openai/clip-vit-base-patch32"  # on the hub
REVISION = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
Label = Annotated[str, Field(min_length=1, max_length=200)]
HELP = "What the image may show. Repeat the field for labels that contain commas."


class Model:
    class Fields(BaseModel):
        labels: set[Label] = Field(min_length=1, max_length=64, description=HELP)

    example = Upload.from_file("french_bulldog.jpg", labels="a dog, a cat")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.network = load_network(AutoModel, folder, device)

    def decode(self, upload: Upload) -> tuple[np.ndarray, set[str]]:
        size = self.processor.size["shortest_edge"]
        image = ImageOps.fit(decode_image(upload), (size, size))
        pixels = self.processor(images=image, return_tensors="np").pixel_values[0]
        return pixels, upload.fields.labels

    @torch.inference_mode()
    def predict(self, inputs: list[tuple[np.ndarray, set[str]]]) -> list[dict]:
        images, requested = zip(*inputs)
        texts = sorted(set().union(*requested))  # Requests often have the same labels.
        both = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        both["pixel_values"] = torch.from_numpy(np.stack(images))
        logits = self.network(**both.to(self.network.device)).logits_per_image.cpu()
        columns = [[texts.index(label) for label in labels] for labels in requested]
        rows = [row[own].softmax(0).tolist() for row, own in zip(logits, columns)]
        return [dict(zip(labels, row)) for labels, row in zip(requested, rows)]

    def encode(self, probabilities: dict[str, float]) -> dict:
        ranked = sorted(probabilities, key=probabilities.get, reverse=True)
        rounded = {label: round(probabilities[label], 4) for label in ranked}
        return {"label": ranked[0], "probabilities": rounded}
