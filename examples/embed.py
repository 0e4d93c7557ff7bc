"""A picture to a vector of length 1 with DINOv2: those of alike pictures are near."""

from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from transformers import AutoImageProcessor, AutoModel
from transformers.utils import logging

from endpoint import weights
from endpoint.decoders.image import decode_image
from endpoint.uploads import Upload

CHECKPOINT = "facebook/dinov2-small"  # on the hub; 384 numbers a picture
REVISION = "ed25f3a31f01632728cabb09d1542f84ab7b0056"
EXAMPLE = Path(__file__).parent.parent / "french_bulldog.jpg"

logging.disable_progress_bar()  # That of loading; a download still shows its own.


class Model:
    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = weights.find(CHECKPOINT, REVISION)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.network = AutoModel.from_pretrained(folder).eval().to(device)
        self.example = Upload(EXAMPLE.read_bytes())

    def decode(self, upload: Upload) -> np.ndarray:
        side = self.processor.size["shortest_edge"]
        # Cut square first: a picture a pixel high would be drawn out without end.
        image = ImageOps.fit(decode_image(upload), (side, side))
        return self.processor(images=image, return_tensors="np").pixel_values[0]

    @torch.inference_mode()
    def predict(self, images: list[np.ndarray]) -> list[list[float]]:
        pixels = torch.from_numpy(np.stack(images))  # (images, 3, 224, 224)
        states = self.network(pixels.to(self.network.device)).last_hidden_state
        whole = states[:, 0]  # (images, 384): the first state is that of all patches
        return torch.nn.functional.normalize(whole).tolist()

    def encode(self, embedding: list[float]) -> dict[str, list[float]]:
        return {"embedding": [round(number, 6) for number in embedding]}
