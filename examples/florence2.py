"""An image to a caption, to its text or to its objects, with Florence-2."""

from typing import Any, Literal

import torch
from PIL import Image
from pydantic import BaseModel
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from model_helpers.image import decode_image
from model_helpers.pretrained import fast_dtype, load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "florence-community/Florence-2-base"  # on the hub
REVISION = "00921df66db728a9ceb750f5eca43e5c203a2051"
PROMPTS = {"caption": "<DETAILED_CAPTION>", "text": "<OCR>", "objects": "<OD>"}


class Model:
    class Fields(BaseModel):
        task: Literal["caption", "text", "objects"] = "caption"

    max_batch = 8
    example = Upload.from_file("french_bulldog.jpg")

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.processor = AutoProcessor.from_pretrained(folder, backend="pil")
        dtype = fast_dtype(device)
        self.network = load_network(
            Florence2ForConditionalGeneration, folder, device, dtype
        )

    def decode(self, upload: Upload) -> tuple[Image.Image, tuple[int, int], str]:
        image = decode_image(upload)
        return image.resize((768, 768)), image.size, PROMPTS[upload.fields.task]

    @torch.inference_mode()
    def predict(self, inputs: list[tuple]) -> list[tuple]:
        images, sizes, prompts = zip(*inputs)
        batch = self.processor([*images], [*prompts], padding=True, return_tensors="pt")
        batch = batch.to(self.network.device, self.network.dtype)
        tokens = self.network.generate(**batch, max_new_tokens=256, num_beams=3)
        return list(zip(self.processor.batch_decode(tokens), prompts, sizes))

    def encode(self, output: tuple[str, str, tuple[int, int]]) -> dict[str, Any]:
        text, prompt, size = output
        parse = self.processor.post_process_generation
        parsed = parse(text.replace("<pad>", ""), task=prompt, image_size=size)[prompt]
        if isinstance(parsed, str):
            return {"answer": parsed}
        boxes = [[round(x) for x in box] for box in parsed["bboxes"]]
        things = zip(parsed["labels"], boxes)
        things = [{"class": name, "box": box} for name, box in things]
        return {"answer": ", ".join(parsed["labels"]), "things": things}
