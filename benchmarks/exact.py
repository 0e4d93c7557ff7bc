"""Are the search's tokens those of `generate`? `python -m benchmarks.exact`.

In float32, at 1, 2, 4 and 8 beams, on drawn pictures: with the bundled model, whose
captions end at different lengths and, with `--checkpoint`, with that one. The search
takes them shuffled, in batches of 1, 3, 8 and 33; any token that differs counts.
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
from benchmarks.run import RESULTS, write
from demo.scenes import draw, sample
from endpoint import decoding, device, model

BEAMS, BATCHES = (1, 2, 4, 8), (1, 3, 8, 33)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000, help="bundled model")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--checkpoint-pictures", type=int, default=64)
    options = parser.parse_args()
    runs = {"bundled": (model.weights.BUNDLED, options.pictures)}
    if options.checkpoint:
        runs["checkpoint"] = options.checkpoint, options.checkpoint_pictures
    figures = {name: compare(*run) for name, run in runs.items()}
    settings = {name: count for name, (_, count) in runs.items()}
    results = {"kind": "exact", "settings": settings, "figures": figures}
    write(results | {"machine": machine.describe()}, RESULTS / "exact.json")
    sys.exit(any(any(found["different"].values()) for found in figures.values()))


def compare(folder: Path, count: int) -> dict:
    """Return how many captions differ, by beams, and how many lengths there are."""
    load = VisionEncoderDecoderModel.from_pretrained
    network = load(folder, dtype=torch.float32).to(device.find())
    images, different = pictures(count), {}
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    shuffled = images[order.numpy()]
    for beams in BEAMS:
        theirs = torch.cat(
            [generate(network, beams, part) for part in parts(images, 8)]
        )
        search = decoding.Captioner(network, beams, model.MAX_LENGTH, max(BATCHES))
        for size in BATCHES:
            ours = torch.cat([search(part).cpu() for part in parts(shuffled, size)])
            wrong = int((ours != theirs[order]).any(1).sum())
            different[f"{beams} beams, batches of {size}"] = wrong
            print(f"{folder.name}: {beams} beams, batches of {size}: {wrong} differ")
    lengths = (theirs != network.generation_config.pad_token_id).sum(1).unique()
    return {"captions": count, "lengths": len(lengths), "different": different}


def pictures(count: int) -> np.ndarray:
    """Return drawn pictures (count, side, side, 3)."""
    randoms = [Random(f"exact {number}") for number in range(count)]
    side = model.SIDE
    return np.stack([np.asarray(draw(sample(r), r, (side, side))) for r in randoms])


def parts(images: np.ndarray, size: int) -> list[np.ndarray]:
    return [images[start : start + size] for start in range(0, len(images), size)]


def generate(network, beams: int, images: np.ndarray) -> torch.Tensor:
    """Return transformers' own tokens (images, 16)."""
    tokens = decoding.generate(network, beams, model.MAX_LENGTH, images).cpu()
    padding = network.generation_config.pad_token_id
    return pad(tokens, (0, model.MAX_LENGTH - tokens.shape[1]), value=padding)


if __name__ == "__main__":
    main()
