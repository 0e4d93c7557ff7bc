"""A query and texts to how well each text answers the query, with a cross-encoder."""

import torch
from pydantic import BaseModel, Field
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from model_helpers.pretrained import load_network
from model_helpers.text import decode_text
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "cross-encoder/ms-marco-MiniLM-L6-v2"  # on the hub
REVISION = "c5ee24cb16019beea0893ab7796b1df96625c6b8"
MAX_CHARS = 5_000  # The model reads only the first 512 tokens.


class Model:
    class Fields(BaseModel):
        query: str = Field(min_length=1, max_length=500, examples=["Who barks?"])

    accepts = "text/plain"
    example = Upload(b"A dog barks at the moon.", "text/plain", {"query": "Who barks?"})

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.network = load_network(AutoModelForSequenceClassification, folder, device)

    def decode(self, upload: Upload) -> tuple[str, str]:
        return upload.fields.query, decode_text(upload, MAX_CHARS)

    @torch.inference_mode()
    def predict(self, pairs: list[tuple[str, str]]) -> list[float]:
        options = {"padding": True, "truncation": True, "return_tensors": "pt"}
        tokens = self.tokenizer(pairs, **options).to(self.network.device)
        return self.network(**tokens).logits[:, 0].sigmoid().tolist()  # one a pair

    def encode(self, relevance: float) -> dict[str, float]:
        return {"relevance": round(relevance, 4)}
