"""What speed costs in captions: `python -m benchmarks.captions`.

The bundled model captions drawn pictures, sent as large JPEGs: in float32 from the
whole picture, in float32 from one decoded at a fraction of its size, in bfloat16 from
that. Answers count as right only word for word.
"""

import argparse
import io
import os
from random import Random

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, VisionEncoderDecoderModel

from benchmarks import machine
from benchmarks.run import RESULTS, write
from demo.scenes import draw, sample
from endpoint import decoding, model
from endpoint.decoders.image import decode_image
from endpoint.uploads import Upload

SIDE = 1400  # pixels, of a JPEG that a phone might send


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    options = parser.parse_args()
    os.environ["ENDPOINT_MODEL"] = "demo"
    scenes, whole, part = [], [], []
    for number in range(options.pictures):
        random = Random(f"captions {number}")
        scene = sample(random)
        scenes.append(scene.caption)
        upload = jpeg(draw(scene, random, 448))
        whole.append(pixels(upload, None))
        part.append(pixels(upload, 2 * model.SIDE))
    texts = {
        "float32, whole": captions(torch.float32, whole),
        "float32, part": captions(torch.float32, part),
        "bfloat16, part": captions(torch.bfloat16, part),
    }
    first = texts["float32, whole"]
    figures = {
        name: {"right": share(said, scenes), "as the first": share(said, first)}
        for name, said in texts.items()
    }
    settings = {"pictures": options.pictures}
    results = {"kind": "captions", "settings": settings, "figures": figures}
    write(results | {"machine": machine.describe()}, RESULTS / "captions.json")
    for name, shares in figures.items():
        print(name, ", ".join(f"{key} {value:.2%}" for key, value in shares.items()))


def jpeg(image: Image.Image) -> Upload:
    file = io.BytesIO()
    image.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return Upload(file.getvalue())


def pixels(upload: Upload, side: int | None) -> np.ndarray:
    image = decode_image(upload, side)
    return np.asarray(image.resize((model.SIDE,) * 2, Image.Resampling.BILINEAR))


def captions(dtype: torch.dtype, images: list[np.ndarray]) -> list[str]:
    folder = model.weights.BUNDLED
    network = VisionEncoderDecoderModel.from_pretrained(folder, dtype=dtype)
    search = decoding.Captioner(network, model.BEAMS, model.MAX_LENGTH)
    tokens = torch.cat([search(images[i : i + 32]) for i in range(0, len(images), 32)])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer.batch_decode(tokens, skip_special_tokens=True)


def share(said: list[str], right: list[str]) -> float:
    same = (one.strip() == other.strip() for one, other in zip(said, right))
    return sum(same) / len(said)


if __name__ == "__main__":
    main()
