"""A text to its sentiment with DistilBERT, or with any other text classifier."""

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from model_helpers.pretrained import load_network
from model_helpers.text import decode_text
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"  # on the hub
REVISION = "714eb0fa89d2f80546fda750413ed43d93601a13"
MAX_CHARS = 2_000  # The model reads only the first 512 tokens.


class Model:
    accepts = "text/plain"
    example = Upload(b"So good that I read it twice.", "text/plain")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.network = load_network(AutoModelForSequenceClassification, folder, device)

    def decode(self, upload: Upload) -> str:
        return decode_text(upload, MAX_CHARS)

    @torch.inference_mode()
    def predict(self, texts: list[str]) -> list[tuple[float, int]]:
        # Tokenize here: decode runs in several threads, which a tokenizer cannot.
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, return_tensors="pt"
        )
        logits = self.network(**tokens.to(self.network.device)).logits
        confidences, labels = logits.softmax(-1).max(-1)  # (texts,)
        return list(zip(confidences.tolist(), labels.tolist()))

    def encode(self, best: tuple[float, int]) -> dict[str, str | float]:
        confidence, label_id = best
        label = self.network.config.id2label[label_id]
        return {"label": label, "confidence": round(confidence, 4)}
