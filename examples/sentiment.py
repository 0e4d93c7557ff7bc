"""A text to what its writer feels, with DistilBERT or any other text classifier."""

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from endpoint import weights
from endpoint.decoders.text import decode_text
from endpoint.uploads import Upload

CHECKPOINT = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"  # on the hub
REVISION = "714eb0fa89d2f80546fda750413ed43d93601a13"
LONGEST = 2_000  # characters; the model reads 512 tokens and no further

logging.disable_progress_bar()  # That of loading; a download still shows its own.


class Model:
    accepts = "text/plain"
    example = Upload(b"So good that I read it twice.")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = weights.find(CHECKPOINT, REVISION)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        network = AutoModelForSequenceClassification.from_pretrained(folder)
        self.network = network.eval().to(device)

    def decode(self, upload: Upload) -> str:
        return decode_text(upload, LONGEST)

    @torch.inference_mode()
    def predict(self, texts: list[str]) -> list[tuple[float, int]]:
        # Here and not in decode: a tokenizer is not for several threads at once.
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, return_tensors="pt"
        )
        logits = self.network(**tokens.to(self.network.device)).logits
        confidences, labels = logits.softmax(-1).max(-1)  # (texts,)
        return list(zip(confidences.tolist(), labels.tolist()))

    def encode(self, best: tuple[float, int]) -> dict[str, str | float]:
        confidence, number = best
        label = self.network.config.id2label[number]
        return {"label": label, "confidence": round(confidence, 4)}
