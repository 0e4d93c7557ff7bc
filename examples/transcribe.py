"""Speech to its words, with Whisper: WAV, FLAC or OGG at any rate, of up to 30 s."""

import io
import wave

import numpy as np
import torch
from transformers import AutoProcessor, WhisperForConditionalGeneration
from transformers.utils import logging

from endpoint import weights
from endpoint.uploads import Upload
from examples.decode_audio import decode_audio

CHECKPOINT = "openai/whisper-base"  # on the hub; hears the language by itself
REVISION = "e37978b90ca9030d5170a5c07aadb050351a65bb"
RATE, LONGEST = 16_000, 30  # samples a second, seconds: what Whisper listens to

logging.disable_progress_bar()  # That of loading; a download still shows its own.
logging.set_verbosity_error()  # Whisper's generate warns of how it calls itself.


class Model:
    accepts, max_batch = "audio/*", 16

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = weights.find(CHECKPOINT, REVISION)
        self.processor = AutoProcessor.from_pretrained(folder)
        network = WhisperForConditionalGeneration.from_pretrained(folder)
        self.network = network.eval().to(device)
        silence = io.BytesIO()
        with wave.open(silence, "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", None))
            file.writeframes(bytes(2 * RATE))
        self.example = Upload(silence.getvalue())

    def decode(self, upload: Upload) -> np.ndarray:
        return decode_audio(upload, RATE, LONGEST)

    @torch.inference_mode()
    def predict(self, sounds: list[np.ndarray]) -> list[str]:
        options = {"return_attention_mask": True, "return_tensors": "pt"}
        heard = self.processor(sounds, sampling_rate=RATE, **options)
        heard = heard.to(self.network.device)  # (sounds, 80, 3000)
        tokens = self.network.generate(**heard)
        return self.processor.batch_decode(tokens, skip_special_tokens=True)

    def encode(self, words: str) -> dict[str, str]:
        return {"text": words.strip()}
