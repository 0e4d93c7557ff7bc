"""Draw animals to train on, a folder for each: `python -m examples.vgg16.draw DATA`."""

import argparse
from pathlib import Path
from random import Random

from tqdm import tqdm

from demo.animals import ANIMALS
from demo.scenes import Scene, draw, sample


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw animals, a folder for each.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=500, help="of each animal")
    parser.add_argument("--size", type=int, default=128, help="pixels on each side")
    options = parser.parse_args()
    for animal in tqdm(ANIMALS, "animals"):
        folder = options.data / animal.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(options.images):
            random = Random(f"{animal} {number}")
            scene = Scene(animal, background=sample(random).background)
            draw(scene, random, options.size).save(folder / f"{number:04}.jpg")


if __name__ == "__main__":
    main()
