"""An image to the objects in it with RT-DETR: boxes as JSON, or drawn as a PNG."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers import AutoImageProcessor, AutoModelForObjectDetection

from model_helpers.image import decode_image
from model_helpers.pretrained import load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "PekingU/rtdetr_r50vd"  # on the hub; knows COCO's 80 classes
REVISION = "df939e661d8c52e80608d1ec566561aabd25a4e7"
THRESHOLD = 0.5  # the lowest confidence of a box


class Model:
    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.network = load_network(AutoModelForObjectDetection, folder, device)

    def decode(self, upload: Upload) -> tuple[np.ndarray, tuple, Image.Image]:
        image = decode_image(upload)
        pixels = self.processor(images=image, return_tensors="np").pixel_values[0]
        size = image.size
        image.thumbnail((1024, 1024))  # Full size would fill the memory.
        return pixels, size, image

    @torch.inference_mode()
    def predict(self, inputs: list[tuple]) -> list[tuple[dict, tuple, Image.Image]]:
        pixels, sizes, images = zip(*inputs)
        pixels = torch.from_numpy(np.stack(pixels))  # (images, 3, 640, 640)
        outputs = self.network(pixels.to(self.network.device))
        found = self.processor.post_process_object_detection(outputs, THRESHOLD)
        found = [{name: part.cpu().numpy() for name, part in x.items()} for x in found]
        return list(zip(found, sizes, images))

    def encode(self, output: tuple[dict, tuple, Image.Image]) -> dict:
        found, size, _ = output
        names = [self.network.config.id2label[label] for label in found["labels"]]
        boxes = np.rint(found["boxes"].clip(0, 1) * np.tile(size, 2)).astype(int)
        scores = [round(score, 4) for score in found["scores"].tolist()]
        keys = ("class", "confidence", "box")
        things = [dict(zip(keys, each)) for each in zip(names, scores, boxes.tolist())]
        return {"found": ", ".join(names) or "nothing", "things": things}

    def draw(self, output: tuple[dict, tuple, Image.Image]) -> Image.Image:
        found, _, image = output
        for thing in self.encode((found, image.size, image))["things"]:
            ImageDraw.Draw(image).rectangle(thing["box"], outline="red", width=3)
            ImageDraw.Draw(image).text(thing["box"][:2], thing["class"], fill="red")
        return image
