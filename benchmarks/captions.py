"""Drawn images to the accuracy that speed costs: `python -m benchmarks.captions`.

The bundled model captions drawn images that were sent as large JPEG files: in float32
from fully decoded images, in float32 from images decoded at a fraction of their size,
and in bfloat16 from the latter. A caption is right only if it matches word for word.
"""

import argparse
import io
from random import Random

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, VisionEncoderDecoderModel

from benchmarks import machine
from benchmarks.measurements import RESULTS, write
from demo.scenes import draw, sample
from endpoint import model
from model_helpers import weights
from model_helpers.image import decode_image
from model_interface.files import Upload
from vit_gpt2.beam_search import Captioner

SIDE = 1400  # pixels of the JPEG files, as from a phone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args()
    expected, full, reduced = make_inputs(options.images)
    captions = {
        "float32, full": caption(torch.float32, full),
        "float32, reduced": caption(torch.float32, reduced),
        "bfloat16, reduced": caption(torch.bfloat16, reduced),
    }
    reference = captions["float32, full"]
    figures = {
        name: {
            "exact match": share(predicted, expected),
            "same as the first": share(predicted, reference),
        }
        for name, predicted in captions.items()
    }
    settings = {"images": options.images}
    results = {"kind": "captions", "settings": settings, "figures": figures}
    write(results | {"machine": machine.describe()}, RESULTS / "captions.json")
    for name, shares in figures.items():
        print(name, ", ".join(f"{key} {value:.2%}" for key, value in shares.items()))


def make_inputs(count: int) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Return the right captions, and each image decoded fully and at reduced size."""
    captions, full, reduced = [], [], []
    for number in range(count):
        random = Random(f"captions {number}")
        scene = sample(random)
        captions.append(scene.caption)
        upload = to_jpeg(draw(scene, random, 448))
        full.append(decode(upload, None))
        reduced.append(decode(upload, 2 * model.SIZE))
    return captions, full, reduced


def to_jpeg(image: Image.Image) -> Upload:
    file = io.BytesIO()
    image.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return Upload(file.getvalue())


def decode(upload: Upload, min_side: int | None) -> np.ndarray:
    image = decode_image(upload, min_side)
    return np.asarray(image.resize((model.SIZE,) * 2, Image.Resampling.BILINEAR))


def caption(dtype: torch.dtype, images: list[np.ndarray]) -> list[str]:
    folder = weights.BUNDLED
    network = VisionEncoderDecoderModel.from_pretrained(folder, dtype=dtype)
    search = Captioner(network, model.NUM_BEAMS, model.MAX_LENGTH)
    tokens = torch.cat([search(images[i : i + 32]) for i in range(0, len(images), 32)])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer.batch_decode(tokens, skip_special_tokens=True)


def share(captions: list[str], expected: list[str]) -> float:
    """Return the share of captions that are the same."""
    same = (one.strip() == other.strip() for one, other in zip(captions, expected))
    return sum(same) / len(captions)


if __name__ == "__main__":
    main()
