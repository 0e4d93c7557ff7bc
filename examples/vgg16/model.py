"""A picture to one of your classes, with the VGG16 that `train.py` left in a folder."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from endpoint import weights
from endpoint.decoders.image import decode_image
from endpoint.uploads import Upload
from examples.vgg16.network import framed, make_network, normalised

FOLDER = "./vgg16"  # where train.py puts a model by default
EXAMPLE = Path(__file__).parent.parent.parent / "french_bulldog.jpg"


class Model:
    max_batch = 32

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = weights.find(FOLDER)
        config = json.loads((folder / "config.json").read_text())
        self.classes, self.side = config["classes"], config["side"]
        network = make_network(len(self.classes), **config["network"])
        network.load_state_dict(load_file(folder / "model.safetensors"))
        self.network, self.device = network.eval().to(device), device
        self.example = Upload(EXAMPLE.read_bytes())

    def decode(self, upload: Upload) -> np.ndarray:
        return framed(decode_image(upload), self.side)

    @torch.inference_mode()
    def predict(self, images: list[np.ndarray]) -> list[tuple[float, int]]:
        pixels = normalised(images).to(self.device)
        confidences, classes = self.network(pixels).softmax(1).max(1)  # (images,)
        return list(zip(confidences.tolist(), classes.tolist()))

    def encode(self, best: tuple[float, int]) -> dict[str, str | float]:
        confidence, number = best
        return {"class": self.classes[number], "confidence": round(confidence, 4)}
