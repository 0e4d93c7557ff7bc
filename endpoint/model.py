"""A picture to a caption with ViT-GPT2: the file to replace with your own model."""

from pathlib import Path

import numpy as np
from PIL import Image
from transformers import AutoTokenizer
from transformers import VisionEncoderDecoderModel as Network
from transformers.utils import logging

from endpoint import explain, weights
from endpoint.decoders.image import decode_image
from endpoint.uploads import Upload
from vit_gpt2.beam_search import captioner_for
from vit_gpt2.layers import fast_dtype

CHECKPOINT = "nlpconnect/vit-gpt2-image-captioning"  # on the hub
REVISION = "dc68f91c06a1ba6f15268e5b9c13ae7a7c514084"
SIDE = 224  # pixels; the picture is squashed to a square
MAX_LENGTH = 16  # tokens, the start token included
BEAMS = 4
LEGACY = r"(attn|attention)\.(masked_)?bias"  # buffers no model has any more
EXAMPLE = Path(__file__).parent.parent / "french_bulldog.jpg"

logging.disable_progress_bar()  # That of loading; a download still shows its own.


@explain.on_request
class Model:
    max_batch = 32

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = weights.find(CHECKPOINT, REVISION)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        Network._keys_to_ignore_on_load_unexpected = [LEGACY]
        network = Network.from_pretrained(folder, dtype=fast_dtype(device)).to(device)
        self.search = captioner_for(network, BEAMS, MAX_LENGTH, self.max_batch)
        self.example = Upload(EXAMPLE.read_bytes())

    def decode(self, upload: Upload) -> np.ndarray:
        image = decode_image(upload, side=2 * SIDE)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    def predict(self, images: list[np.ndarray]) -> list[str]:
        tokens = self.search(images)  # (images, at most 16)
        captions = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [caption.strip() for caption in captions]

    def encode(self, caption: str) -> dict[str, str]:
        return {"caption": caption}
