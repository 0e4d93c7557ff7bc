"""Drawn images to the number of captions that differ from those of `generate`.

`python -m benchmarks.exact` compares the tokens in float32 at 1, 2, 4 and 8 beams, with
the bundled model, whose captions differ in length, and with `--checkpoint`. The search
gets the images in another order than `generate`, in batches of 1, 3, 8 and 33.
"""

import argparse
import sys
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch.nn.functional import pad
from transformers import VisionEncoderDecoderModel

from benchmarks import machine
from benchmarks.measurements import RESULTS, write
from demo.scenes import draw, sample
from endpoint import device, model
from model_helpers import weights
from vit_gpt2 import beam_search

NUM_BEAMS, BATCH_SIZES = (1, 2, 4, 8), (1, 3, 8, 33)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000, help="for the bundled one")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--checkpoint-images", type=int, default=64)
    options = parser.parse_args()
    runs = {"bundled": (weights.BUNDLED, options.images)}
    if options.checkpoint:
        runs["checkpoint"] = options.checkpoint, options.checkpoint_images
    figures = {name: compare(*run) for name, run in runs.items()}
    settings = {name: count for name, (_, count) in runs.items()}
    results = {"kind": "exact", "settings": settings, "figures": figures}
    write(results | {"machine": machine.describe()}, RESULTS / "exact.json")
    sys.exit(any(any(found["different"].values()) for found in figures.values()))


def compare(folder: Path, count: int) -> dict:
    """Count the captions that differ, for each number of beams and batch size."""
    load = VisionEncoderDecoderModel.from_pretrained
    network = load(folder, dtype=torch.float32).to(device.find_device())
    images, different = draw_images(count), {}
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    shuffled = images[order.numpy()]
    for beams in NUM_BEAMS:
        batches = split(images, 8)
        theirs = torch.cat([generate(network, beams, batch) for batch in batches])
        options = (beams, model.MAX_LENGTH, max(BATCH_SIZES))
        search = beam_search.Captioner(network, *options)
        for size in BATCH_SIZES:
            ours = torch.cat([search(batch).cpu() for batch in split(shuffled, size)])
            wrong = int((ours != theirs[order]).any(1).sum())
            different[f"{beams} beams, batches of {size}"] = wrong
            print(f"{folder.name}: {beams} beams, batches of {size}: {wrong} differ")
    lengths = (theirs != network.generation_config.pad_token_id).sum(1).unique()
    return {"captions": count, "lengths": len(lengths), "different": different}


def draw_images(count: int) -> np.ndarray:
    """Return drawn images (count, size, size, 3)."""
    randoms = [Random(f"exact {number}") for number in range(count)]
    size = (model.SIZE, model.SIZE)
    return np.stack([np.asarray(draw(sample(r), r, size)) for r in randoms])


def split(images: np.ndarray, size: int) -> list[np.ndarray]:
    return [images[start : start + size] for start in range(0, len(images), size)]


def generate(network, num_beams: int, images: np.ndarray) -> torch.Tensor:
    """Return the tokens (images, 16) of transformers' own search."""
    search = beam_search.Generator(network, num_beams, model.MAX_LENGTH)
    tokens = search(images).cpu()
    padding = network.generation_config.pad_token_id
    return pad(tokens, (0, model.MAX_LENGTH - tokens.shape[1]), value=padding)


if __name__ == "__main__":
    main()
