"""An image to its class with ViT, or with any other image classifier on the hub."""

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from model_helpers.image import decode_image
from model_helpers.pretrained import load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "google/vit-base-patch16-224"  # on the hub; knows ImageNet's 1000 classes
REVISION = "3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3"


class Model:
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        # With "pil" the pixels are the same whether or not torchvision is installed.
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.network = load_network(AutoModelForImageClassification, folder, device)

    def decode(self, upload: Upload) -> np.ndarray:
        image = decode_image(upload)
        return self.processor(images=image, return_tensors="np").pixel_values[0]

    @torch.inference_mode()
    def predict(self, images: list[np.ndarray]) -> list[tuple[float, int]]:
        pixels = torch.from_numpy(np.stack(images))  # (images, 3, 224, 224)
        logits = self.network(pixels.to(self.network.device)).logits  # (images, 1000)
        confidences, classes = logits.softmax(-1).max(-1)
        return list(zip(confidences.tolist(), classes.tolist()))

    def encode(self, best: tuple[float, int]) -> dict[str, str | float]:
        confidence, class_id = best
        name = self.network.config.id2label[class_id]
        return {"class": name, "confidence": round(confidence, 4)}
