"""An image to its most likely classes with onnxruntime: torch is never imported."""

import time
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession
from pydantic import BaseModel, Field

from endpoint.settings import read_settings
from examples.resnet_onnx.preprocess import preprocess
from model_helpers.image import decode_image
from model_interface.files import Upload

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class TopFields(BaseModel):
    top_k: int = Field(5, ge=1, le=1000, description="The most classes to return.")


class Model:
    routes = {"top": TopFields}
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        self.name = read_settings().model or "model.onnx"
        if not Path(self.name).is_file():
            raise SystemExit(f"There is no file {self.name}: make it with convert.py.")
        providers = PROVIDERS[1:] if device == "cpu" else PROVIDERS
        self.session = InferenceSession(self.name, providers=providers)
        (images,) = self.session.get_inputs()
        self.input = images.name
        self.max_batch = images.shape[0] if isinstance(images.shape[0], int) else 32

    def decode(self, upload: Upload) -> tuple[np.ndarray, int]:
        top_k = upload.fields.top_k if upload.route == "top" else 0
        return preprocess(decode_image(upload)), top_k

    def predict(self, inputs: list[tuple[np.ndarray, int]]) -> list[tuple]:
        started = time.perf_counter()
        images, counts = zip(*inputs)
        (logits,) = self.session.run(None, {self.input: np.stack(images)})
        scores = np.exp(logits - logits.max(1, keepdims=True))  # (images, classes)
        scores /= scores.sum(1, keepdims=True)
        seconds = round(time.perf_counter() - started, 4)
        return [(row, count, seconds) for row, count in zip(scores.tolist(), counts)]

    def encode(self, output: tuple[list[float], int, float]) -> dict:
        scores, count, seconds = output
        ranked = sorted(range(len(scores)), key=lambda n: -scores[n])[: count or 1]
        best = [{"class_id": n, "confidence": round(scores[n], 4)} for n in ranked]
        answer = {"predictions": best} if count else best[0]
        return answer | {"processing_time": seconds}
