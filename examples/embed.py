"""An image to a vector of length 1 with DINOv2; similar images have similar vectors."""

import numpy as np
import torch
from PIL import ImageOps
from transformers import AutoImageProcessor, AutoModel

from model_helpers.image import decode_image
from model_helpers.pretrained import load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "facebook/dinov2-small"  # on the hub; its vectors have 384 numbers
REVISION = "ed25f3a31f01632728cabb09d1542f84ab7b0056"


class Model:
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.network = load_network(AutoModel, folder, device)

    def decode(self, upload: Upload) -> np.ndarray:
        size = self.processor.size["shortest_edge"]
        # Crop to a square first: the processor would enlarge an image of 60,000 by 1
        # pixels until its shortest edge has this size.
        image = ImageOps.fit(decode_image(upload), (size, size))
        return self.processor(images=image, return_tensors="np").pixel_values[0]

    @torch.inference_mode()
    def predict(self, images: list[np.ndarray]) -> list[list[float]]:
        pixels = torch.from_numpy(np.stack(images))  # (images, 3, 224, 224)
        states = self.network(pixels.to(self.network.device)).last_hidden_state
        class_states = states[:, 0]  # (images, 384); the other states are the patches'
        return torch.nn.functional.normalize(class_states).tolist()

    def encode(self, embedding: list[float]) -> dict[str, list[float]]:
        return {"embedding": [round(number, 6) for number in embedding]}
