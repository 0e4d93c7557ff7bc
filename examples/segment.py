"""An image to the class of each pixel with SegFormer: shares as JSON, a mask as PNG."""

from collections import Counter

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

from model_helpers.image import decode_image
from model_helpers.pretrained import load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "nvidia/segformer-b0-finetuned-ade-512-512"  # on the hub; 150 classes
REVISION = "489d5cd81a0b59fab9b7ea758d3548ebe99677da"
PALETTE = np.random.default_rng(0).bytes(3 * 256)  # red, green, blue of each class


class Model:
    max_batch = 8  # The logits of one image take 160 MB.
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.network = load_network(AutoModelForSemanticSegmentation, folder, device)

    def decode(self, upload: Upload) -> tuple[np.ndarray, tuple[int, int]]:
        image = decode_image(upload)
        pixels = self.processor(images=image, return_tensors="np").pixel_values[0]
        return pixels, image.size

    @torch.inference_mode()
    def predict(self, inputs: list[tuple]) -> list[tuple[np.ndarray, tuple]]:
        pixels, sizes = zip(*inputs)
        pixels = torch.from_numpy(np.stack(pixels))  # (images, 3, 512, 512)
        logits = self.network(pixels.to(self.network.device)).logits
        logits = interpolate(logits, pixels.shape[2:], mode="bilinear")
        return list(zip(logits.argmax(1).byte().cpu().numpy(), sizes))

    def encode(self, output: tuple[np.ndarray, tuple]) -> dict:
        counts = Counter(output[0].ravel().tolist()).most_common()
        names, pixels = self.network.config.id2label, output[0].size
        shares = {names[label]: round(count / pixels, 4) for label, count in counts}
        return {"class": next(iter(shares)), "shares": shares}

    def draw(self, output: tuple[np.ndarray, tuple]) -> Image.Image:
        mask = Image.fromarray(output[0])  # Its pixels are the numbers of the classes.
        mask.putpalette(PALETTE)
        return mask.resize(output[1])
