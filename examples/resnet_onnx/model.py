"""An image to its most likely classes with onnxruntime: torch is never imported."""

import re
import time
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession
from werkzeug.exceptions import abort

from endpoint.decoders.image import decode_image
from endpoint.settings import read_settings
from endpoint.uploads import Upload
from examples.resnet_onnx.preprocess import preprocess

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class Model:
    routes = ("top",)
    fields = {"top_k": "How many classes /predict/top returns."}
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        self.name = read_settings().model or "model.onnx"
        if not Path(self.name).is_file():
            raise SystemExit(f"There is no file {self.name}: make it with convert.py.")
        providers = PROVIDERS[1:] if device == "cpu" else PROVIDERS
        self.session = InferenceSession(self.name, providers=providers)
        images, logits = *self.session.get_inputs(), *self.session.get_outputs()
        self.input, self.classes = images.name, logits.shape[1]
        self.max_batch = images.shape[0] if isinstance(images.shape[0], int) else 32

    def decode(self, upload: Upload) -> tuple[np.ndarray, int]:
        top_k = str(upload.fields.get("top_k", "")) or str(min(5, self.classes))
        if not re.fullmatch("[0-9]{1,9}", top_k) or not 1 <= int(top_k) <= self.classes:
            abort(400, f"top_k must be a whole number from 1 to {self.classes}.")
        return preprocess(decode_image(upload)), int(top_k) * (upload.route == "top")

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
