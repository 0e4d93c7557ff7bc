"""An image to one of your classes, with the VGG16 that train.py wrote to a folder."""

import json

import numpy as np
import torch
from safetensors.torch import load_file

from examples.vgg16.network import center_crop, make_network, normalize
from model_helpers import weights
from model_helpers.image import decode_image
from model_interface.files import Upload

FOLDER = "./vgg16"  # the default of train.py


class Model:
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = weights.resolve(FOLDER)
        config = json.loads((folder / "config.json").read_text())
        self.classes, self.size = config["classes"], config["size"]
        network = make_network(len(self.classes), **config["network"])
        network.load_state_dict(load_file(folder / "model.safetensors"))
        self.network, self.device = network.eval().to(device), device

    def decode(self, upload: Upload) -> np.ndarray:
        return center_crop(decode_image(upload), self.size)

    @torch.inference_mode()
    def predict(self, images: list[np.ndarray]) -> list[tuple[float, int]]:
        pixels = normalize(images).to(self.device)
        confidences, classes = self.network(pixels).softmax(1).max(1)  # (images,)
        return list(zip(confidences.tolist(), classes.tolist()))

    def encode(self, best: tuple[float, int]) -> dict[str, str | float]:
        confidence, class_id = best
        return {"class": self.classes[class_id], "confidence": round(confidence, 4)}
