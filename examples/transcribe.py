"""Speech to text with Whisper: up to 30 seconds of WAV, FLAC or OGG."""

import io

import numpy as np
import soundfile
import torch
from transformers import AutoProcessor, WhisperForConditionalGeneration
from transformers.utils import logging

from model_helpers.audio import decode_audio
from model_helpers.pretrained import fast_dtype, load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "openai/whisper-base"  # on the hub; detects the language
REVISION = "e37978b90ca9030d5170a5c07aadb050351a65bb"
RATE = 16_000  # samples a second
MAX_SECONDS = 30

logging.set_verbosity_error()  # Whisper's generate warns about its own options.


def silence(seconds: int) -> Upload:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(RATE * seconds), RATE, format="WAV")
    return Upload(file.getvalue(), "audio/wav")


class Model:
    accepts = "audio/*"
    max_batch = 16
    example = silence(1)

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.processor = AutoProcessor.from_pretrained(folder)
        dtype = fast_dtype(device)
        self.network = load_network(
            WhisperForConditionalGeneration, folder, device, dtype
        )

    def decode(self, upload: Upload) -> np.ndarray:
        return decode_audio(upload, RATE, MAX_SECONDS)

    @torch.inference_mode()
    def predict(self, recordings: list[np.ndarray]) -> list[str]:
        options = {"return_attention_mask": True, "return_tensors": "pt"}
        features = self.processor(recordings, sampling_rate=RATE, **options)
        # (recordings, 80, 3000)
        features = features.to(self.network.device, self.network.dtype)
        tokens = self.network.generate(**features)
        return self.processor.batch_decode(tokens, skip_special_tokens=True)

    def encode(self, text: str) -> dict[str, str]:
        return {"text": text.strip()}
