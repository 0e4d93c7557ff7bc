"""An image and labels to the probability of each label, with CLIP."""

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
MAX_LABELS, MAX_CHARS = 64, 200  # labels for an image, characters in a label
HELP = f"1 to {MAX_LABELS} labels of up to {MAX_CHARS} characters, like: a dog, a cat"


class Model:
    fields = {"labels": f"{HELP}. Repeat the field for labels that contain commas."}
    example = Upload.from_file("french_bulldog.jpg", labels="a dog, a cat")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = weights.resolve(CHECKPOINT, REVISION)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.network = weights.load(AutoModel, folder, device)

    def decode(self, upload: Upload) -> tuple[np.ndarray, list[str]]:
        labels = [str(label or "") for label in upload.fields.getlist("labels")]
        labels = labels[0].split(",") if len(labels) == 1 else labels
        labels = list(dict.fromkeys(filter(None, map(str.strip, labels))))
        if not 0 < len(labels) <= MAX_LABELS or max(map(len, labels)) > MAX_CHARS:
            abort(400, f"Send in the field labels {HELP}.")
        size = self.processor.size["shortest_edge"]
        image = ImageOps.fit(decode_image(upload), (size, size))
        return self.processor(images=image, return_tensors="np").pixel_values[0], labels

    @torch.inference_mode()
    def predict(self, inputs: list[tuple[np.ndarray, list[str]]]) -> list[dict]:
        images, requested = zip(*inputs)
        texts = sorted(set().union(*requested))  # Requests often have the same labels.
        both = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        both["pixel_values"] = torch.from_numpy(np.stack(images))
        logits = self.network(**both.to(self.network.device)).logits_per_image.cpu()
        columns = [[texts.index(label) for label in labels] for labels in requested]
        rows = [row[own].softmax(0).tolist() for row, own in zip(logits, columns)]
        return [dict(zip(labels, row)) for labels, row in zip(requested, rows)]

    def encode(self, probabilities: dict[str, float]) -> dict:
        ranked = sorted(probabilities, key=probabilities.get, reverse=True)
        rounded = {label: round(probabilities[label], 4) for label in ranked}
        return {"label": ranked[0], "probabilities": rounded}
