"""An image to its caption with ViT-GPT2: the file to replace with your own model."""

import numpy as np
from PIL import Image
from transformers import AutoTokenizer, VisionEncoderDecoderModel

from model_helpers.image import decode_image
from model_helpers.pretrained import fast_dtype, load_network
from model_helpers.weights import resolve
from model_interface.files import Upload
from vit_gpt2.beam_search import build_captioner

CHECKPOINT = "nlpconnect/vit-gpt2-image-captioning"  # on the Hugging Face hub
REVISION = "dc68f91c06a1ba6f15268e5b9c13ae7a7c514084"  # a commit of it
SIZE = 224  # pixels; each image is resized to a square
NUM_BEAMS = 4
MAX_LENGTH = 16  # tokens, including the start token


class Model:
    max_batch = 32  # images in one call of predict
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        """Load the weights and the tokenizer."""
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        dtype = fast_dtype(device)
        network = load_network(VisionEncoderDecoderModel, folder, device, dtype)
        self.search = build_captioner(network, NUM_BEAMS, MAX_LENGTH, self.max_batch)
        self.details = self.search.details  # for GET /health

    def decode(self, upload: Upload) -> np.ndarray:
        """Turn one upload into one input: pixels (224, 224, 3)."""
        image = decode_image(upload, min_side=2 * SIZE)
        return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    def predict(self, images: list[np.ndarray]) -> list[str]:
        """Caption all images in one batch, in their order."""
        tokens = self.search(images)  # (images, at most 16)
        captions = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [caption.strip() for caption in captions]

    def encode(self, caption: str) -> dict[str, str]:
        """Turn one output into the answer."""
        return {"caption": caption}
