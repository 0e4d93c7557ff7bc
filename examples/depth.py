"""An image to the depth of each pixel with Depth Anything: a picture and values."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForDepthEstimation

from model_helpers.image import decode_image
from model_helpers.pretrained import load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "depth-anything/Depth-Anything-V2-Small-hf"  # on the hub
REVISION = "5426e4f0f36572d16453bbda7a8389317b1bef99"


class Model:
    max_batch = 16
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        # Squares of one size share a batch; the answer has the shape of the image.
        options = {"backend": "pil", "keep_aspect_ratio": False}
        self.processor = AutoImageProcessor.from_pretrained(folder, **options)
        self.network = load_network(AutoModelForDepthEstimation, folder, device)

    def decode(self, upload: Upload) -> tuple[np.ndarray, tuple[int, int]]:
        image = decode_image(upload)
        pixels = self.processor(images=image, return_tensors="np").pixel_values[0]
        return pixels, image.size

    @torch.inference_mode()
    def predict(self, inputs: list[tuple]) -> list[tuple[np.ndarray, tuple]]:
        pixels, sizes = zip(*inputs)
        pixels = torch.from_numpy(np.stack(pixels))  # (images, 3, 518, 518)
        nearness = self.network(pixels.to(self.network.device)).predicted_depth
        return list(zip(nearness.cpu().numpy(), sizes))

    def encode(self, output: tuple[np.ndarray, tuple]) -> dict[str, Any]:
        nearness, size = output  # (518, 518); without a unit, and more is nearer
        scaled = (nearness - nearness.min()) / max(np.ptp(nearness), 1e-6)
        picture = Image.fromarray((255 * scaled).astype(np.uint8)).resize(size)
        row, column = np.unravel_index(nearness.argmax(), nearness.shape)
        nearest = (np.array([column, row]) + 0.5) / nearness.shape[::-1] * size
        return {"depth": picture, "nearest": nearest.astype(int).tolist()}
