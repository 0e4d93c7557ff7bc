"""A seed to image files as users send them: 0.1 to 12 megapixels, most of them JPEG.

`python -m benchmarks.images FOLDER` writes them. Their content is noise with shapes on
it, which takes as many bytes per pixel as a photograph.
"""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

COUNT = 24
SMALLEST, LARGEST = 0.1, 12.0  # megapixels
ASPECT_RATIOS = ((4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (1, 1))  # width to height
# By position. The others are JPEG files, like those from phones.
FORMATS = {3: "PNG", 6: "WEBP", 9: "PNG", 12: "WEBP", 15: "PNG", 18: "WEBP"}


@dataclass(frozen=True)
class ImageFile:
    data: bytes
    format: str
    megapixels: float


def make_images(count: int = COUNT, seed: int = 0) -> list[ImageFile]:
    """Return image files in random order; their sizes form a geometric series."""
    random = np.random.default_rng(seed)
    images = []
    for number in range(count):
        share = number / max(count - 1, 1)
        megapixels = SMALLEST * (LARGEST / SMALLEST) ** share
        images.append(make_image(megapixels, FORMATS.get(number, "JPEG"), random))
    return [images[number] for number in random.permutation(count)]


def make_image(
    megapixels: float, format: str, random: np.random.Generator
) -> ImageFile:
    """Return a file with about that many pixels."""
    ratio = np.divide(*ASPECT_RATIOS[random.integers(len(ASPECT_RATIOS))])
    width = round((megapixels * 1e6 * ratio) ** 0.5)
    height = round(width / ratio)
    image = make_noise(width, height, random)
    draw_shapes(image, random)
    image = image.filter(ImageFilter.GaussianBlur(0.6))  # as a lens blurs
    file = io.BytesIO()
    image.save(file, format, **{"quality": 90} if format != "PNG" else {})
    return ImageFile(file.getvalue(), format, width * height / 1e6)


def make_noise(width: int, height: int, random: np.random.Generator) -> Image.Image:
    """Add noise of many scales; the finer scales are fainter, as in photographs."""
    total = Image.new("RGB", (width, height), "gray")
    for octave in range(1, 9):
        shape = (min(2**octave * 3 // 2, height), min(2**octave * 2, width), 3)
        noise = random.integers(0, 256, shape, dtype=np.uint8)
        layer = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        total = Image.blend(total, layer, 0.6 / octave)
    grain = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.blend(total, Image.fromarray(grain), 0.25)


def draw_shapes(image: Image.Image, random: np.random.Generator) -> None:
    """Draw ellipses and rectangles with sharp edges."""
    draw = ImageDraw.Draw(image)
    size = np.array(image.size)
    for number in range(12):
        corner = random.random(2) * 0.8
        end = corner + 0.05 + random.random(2) * 0.3
        box = [*(corner * size), *(end * size)]
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        (draw.ellipse if number % 2 else draw.rectangle)(box, fill=colour)


def write_images(images: list[ImageFile], folder: Path) -> None:
    """Write the files with names that sort in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        name = f"{number:02d}.{image.format.lower()}"
        (folder / name).write_bytes(image.data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write_images(make_images(), parser.parse_args().folder)
