"""A picture and labels to the probability of each label, with CLIP."""

from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
from werkzeug.exceptions import abort

from endpoint import weights
from endpoint.decoders.image import decode_image
from endpoint.uploads import Upload

CHECKPOINT = "openai/clip-vit-base-patch32"  # on the hub
REVISION = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
MOST, LONGEST = 64, 200  # labels for a picture, characters of a label
HELP = f"1 to {MOST} labels of up to {LONGEST} characters, such as: a dog, a cat"
EXAMPLE = Path(__file__).parent.parent / "french_bulldog.jpg"


class Model:
    fields = {"labels": f"{HELP}. Repeat the field for labels that hold commas."}

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = weights.find(CHECKPOINT, REVISION)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.network = AutoModel.from_pretrained(folder).eval().to(device)
        self.example = Upload(EXAMPLE.read_bytes())
        self.example.fields["labels"] = "a dog, a cat"

    def decode(self, upload: Upload) -> tuple[np.ndarray, list[str]]:
        labels = [str(label or "") for label in upload.fields.getlist("labels")]
        labels = labels[0].split(",") if len(labels) == 1 else labels
        labels = list(dict.fromkeys(filter(None, map(str.strip, labels))))
        if not 0 < len(labels) <= MOST or max(map(len, labels)) > LONGEST:
            abort(400, f"Send in the field labels {HELP}.")
        side = self.processor.size["shortest_edge"]
        image = ImageOps.fit(decode_image(upload), (side, side))  # of bounded size
        return self.processor(images=image, return_tensors="np").pixel_values[0], labels

    @torch.inference_mode()
    def predict(self, pairs: list[tuple[np.ndarray, list[str]]]) -> list[dict]:
        images, wanted = zip(*pairs)
        texts = sorted(set().union(*wanted))  # Requests often send the same labels.
        both = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        both["pixel_values"] = torch.from_numpy(np.stack(images))
        logits = self.network(**both.to(self.network.device)).logits_per_image.cpu()
        columns = [[texts.index(label) for label in labels] for labels in wanted]
        chances = [row[own].softmax(0).tolist() for row, own in zip(logits, columns)]
        return [dict(zip(labels, own)) for labels, own in zip(wanted, chances)]

    def encode(self, chances: dict[str, float]) -> dict:
        ranked = sorted(chances, key=chances.get, reverse=True)
        rounded = {label: round(chances[label], 4) for label in ranked}
        return {"label": ranked[0], "probabilities": rounded}
