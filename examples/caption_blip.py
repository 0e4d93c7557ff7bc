"""An image to a caption with BLIP, by transformers' own `generate`."""

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoTokenizer, BlipForConditionalGeneration

from model_helpers.image import decode_image
from model_helpers.pretrained import fast_dtype, load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "Salesforce/blip-image-captioning-base"  # on the hub
REVISION = "82a37760796d32b1411fe092ab5d4e227313294b"
MAX_LENGTH = 20  # tokens, including the start token
NUM_BEAMS = 3


class Model:
    max_batch = 16
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        dtype = fast_dtype(device)
        self.network = load_network(BlipForConditionalGeneration, folder, device, dtype)

    def decode(self, upload: Upload) -> np.ndarray:
        image = decode_image(upload)
        return self.processor(images=image, return_tensors="np").pixel_values[0]

    @torch.inference_mode()
    def predict(self, images: list[np.ndarray]) -> list[str]:
        pixels = torch.from_numpy(np.stack(images))  # (images, 3, 384, 384)
        pixels = pixels.to(self.network.device, self.network.dtype)
        options = {"max_length": MAX_LENGTH, "num_beams": NUM_BEAMS}
        tokens = self.network.generate(pixels, **options)  # (images, at most 20)
        captions = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [caption.strip() for caption in captions]

    def encode(self, caption: str) -> dict[str, str]:
        return {"caption": caption}
