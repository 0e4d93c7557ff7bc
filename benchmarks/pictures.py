"""A seed to pictures as people send them: 0.1 to 12 megapixels, JPEG mostly.

`python -m benchmarks.pictures FOLDER` writes them. Cloudy noise with shapes on it takes
as many bytes a pixel as a photograph does.
"""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

COUNT = 24
SMALLEST, LARGEST = 0.1, 12.0  # megapixels
SHAPES = ((4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (1, 1))  # width to height
# Screenshots and pictures from the web; phones send JPEG.
OTHERS = {3: "PNG", 6: "WEBP", 9: "PNG", 12: "WEBP", 15: "PNG", 18: "WEBP"}


@dataclass(frozen=True)
class Picture:
    data: bytes
    kind: str
    megapixels: float


def mix(count: int = COUNT, seed: int = 0) -> list[Picture]:
    """Return pictures of sizes evenly spread on a logarithmic scale, shuffled."""
    random = np.random.default_rng(seed)
    pictures = []
    for number in range(count):
        share = number / max(count - 1, 1)
        megapixels = SMALLEST * (LARGEST / SMALLEST) ** share
        pictures.append(make(megapixels, OTHERS.get(number, "JPEG"), random))
    return [pictures[number] for number in random.permutation(count)]


def make(megapixels: float, kind: str, random: np.random.Generator) -> Picture:
    """Return a file of about that many pixels."""
    ratio = np.divide(*SHAPES[random.integers(len(SHAPES))])
    width = round((megapixels * 1e6 * ratio) ** 0.5)
    height = round(width / ratio)
    image = clouds(width, height, random)
    draw_shapes(image, random)
    # What a lens leaves of the grain.
    image = image.filter(ImageFilter.GaussianBlur(0.6))
    file = io.BytesIO()
    image.save(file, kind, **{"quality": 90} if kind != "PNG" else {})
    return Picture(file.getvalue(), kind, width * height / 1e6)


def clouds(width: int, height: int, random: np.random.Generator) -> Image.Image:
    """Add noise of many scales, the finer the fainter, as photographs have it."""
    total = Image.new("RGB", (width, height), "gray")
    for octave in range(1, 9):
        shape = (min(2**octave * 3 // 2, height), min(2**octave * 2, width), 3)
        noise = random.integers(0, 256, shape, dtype=np.uint8)
        layer = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        total = Image.blend(total, layer, 0.6 / octave)
    grain = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.blend(total, Image.fromarray(grain), 0.25)


def draw_shapes(image: Image.Image, random: np.random.Generator) -> None:
    """Draw ellipses and boxes with sharp edges."""
    draw = ImageDraw.Draw(image)
    size = np.array(image.size)
    for number in range(12):
        corner = random.random(2) * 0.8
        end = corner + 0.05 + random.random(2) * 0.3
        box = [*(corner * size), *(end * size)]
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        (draw.ellipse if number % 2 else draw.rectangle)(box, fill=colour)


def write(pictures: list[Picture], folder: Path) -> None:
    """Write the pictures in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        name = f"{number:02d}.{picture.kind.lower()}"
        (folder / name).write_bytes(picture.data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write(mix(), parser.parse_args().folder)
