"""The model of all peers: ViT-GPT2 as transformers' documentation runs it.

MODEL is the folder of the checkpoint, DTYPE is float32 or bfloat16. A peer runs in this
folder, so that its imports look as in its framework's documentation.
"""

import io
import os

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

FOLDER = os.environ["MODEL"]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PORT = int(os.environ.get("PORT", 8000))
# Larger batches are faster on a GPU; a CPU's throughput stays the same from 4 on.
MAX_BATCH = int(os.environ.get("MAX_BATCH", 32 if DEVICE == "cuda" else 8))
TIMEOUT = 900  # seconds, so that no peer drops a request that waits


class Decoder:
    """Files to inputs of the encoder."""

    def __init__(self) -> None:
        self.processor = AutoImageProcessor.from_pretrained(FOLDER)

    def pixels(self, data: bytes) -> torch.Tensor:  # (3, 224, 224)
        image = Image.open(io.BytesIO(data)).convert("RGB")
        return self.processor(images=image, return_tensors="pt").pixel_values[0]


class Captioner(Decoder):
    def __init__(self) -> None:
        super().__init__()
        dtype = getattr(torch, os.environ.get("DTYPE", "float32"))
        self.tokenizer = AutoTokenizer.from_pretrained(FOLDER)
        self.model = VisionEncoderDecoderModel.from_pretrained(FOLDER, dtype=dtype)
        self.model.eval().to(DEVICE)

    @torch.inference_mode()
    def captions(self, pixels: list[torch.Tensor]) -> list[str]:
        batch = torch.stack(pixels).to(self.model.device, self.model.dtype)
        tokens = self.model.generate(
            **self.encoder_arguments(batch),
            # Without a mask, transformers warns that padding and end are the same.
            attention_mask=batch.new_ones(len(batch), 197, dtype=torch.long),
            max_length=16,
            num_beams=4,
        )
        captions = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [caption.strip() for caption in captions]

    def encoder_arguments(self, batch: torch.Tensor) -> dict:
        """Return the images as arguments for generate."""
        return {"pixel_values": batch}
