"""A picture to a caption with ViT-GPT2: the file to replace with your own model."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, VisionEncoderDecoderModel
from transformers.utils import logging

from endpoint import inputs, weights

CHECKPOINT = "nlpconnect/vit-gpt2-image-captioning"  # on the hub
REVISION = "dc68f91c06a1ba6f15268e5b9c13ae7a7c514084"
SIDE = 224  # pixels; the picture is squashed to a square
STATES = 197  # the encoder's: one for each of 14 x 14 patches and one for the whole
MAX_LENGTH = 16  # tokens, the start token included
BEAMS = 4
LEGACY = r"(attn|attention)\.(masked_)?bias"  # buffers no model has any more
EXAMPLE = Path(__file__).parent.parent / "french_bulldog.jpg"

logging.disable_progress_bar()  # That of loading; a download still shows its own.


class Model:
    max_batch = 32

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = weights.find(CHECKPOINT, REVISION)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        VisionEncoderDecoderModel._keys_to_ignore_on_load_unexpected = [LEGACY]
        network = VisionEncoderDecoderModel.from_pretrained(folder, dtype=torch.float32)
        self.network = network.eval().to(device)
        self.example = inputs.Upload(EXAMPLE.read_bytes())

    def decode(self, upload: inputs.Upload) -> np.ndarray:
        image = inputs.image(upload)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    @torch.inference_mode()
    def predict(self, images: list[np.ndarray]) -> list[str]:
        pixels = torch.from_numpy(np.stack(images)).to(self.network.device)
        pixels = pixels.permute(0, 3, 1, 2) / 127.5 - 1  # (images, 3, 224, 224)
        ones = pixels.new_ones(len(images), STATES, dtype=torch.long)
        tokens = self.network.generate(
            pixels,
            attention_mask=ones,
            decoder_attention_mask=ones[:, :1],
            max_length=MAX_LENGTH,
            num_beams=BEAMS,
        )  # (images, at most 16)
        captions = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [caption.strip() for caption in captions]

    def encode(self, caption: str) -> dict[str, str]:
        return {"caption": caption}
