"""The header of an image: what decoding would cost, and whether that is too much."""

import os
import warnings
from math import ceil
from typing import IO, NoReturn

from PIL import Image, TiffImagePlugin
from werkzeug.exceptions import abort

from model_helpers.slots import MAX_CPU_SECONDS, TimedBytesIO

# A larger image is decoded on one of a few threads. Each scan of a JPEG counts as an
# eighth of its pixels, even if only a smaller image is made of it.
LARGE_PIXELS = 4_000_000
MAX_WEBP_PIXELS = 25_000_000  # All threads wait while libwebp's pixels are copied.
MAX_SIDE = 65_536  # pixels; decoders spend time on each row, however short it is.
MAX_SCANNED_PIXELS = 1_000_000_000  # libjpeg goes over the whole image once a scan.
MAX_EXIF_BLOCKS = 50  # Pillow joins those of a JPEG, and copies all for each.
MAX_TAG_BYTES = 400_000  # of numbers, in one directory of a TIFF or of EXIF

Image.init()  # Otherwise the first image's time includes Pillow's imports.
TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader makes an object per strip.
os.environ.setdefault("LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER", "20")
# Pillow's warnings quote the file, and Python remembers each that it has shown.
warnings.filterwarnings("ignore", module=r"PIL\b")


class SmallDirectory(TiffImagePlugin.ImageFileDirectory_v2):
    """Tags with few numbers, because Pillow makes an object of each."""

    def load(self, fp: IO[bytes]) -> None:
        super().load(fp)
        numbers = [tag for tag, kind in self.tagtype.items() if kind not in (1, 2, 7)]
        if sum(len(self._tagdata[tag]) for tag in numbers) > MAX_TAG_BYTES:
            self.reset()  # Pillow catches the error, and would use the tags later.
            raise ValueError("too many numbers")


setattr(TiffImagePlugin, "ImageFileDirectory_v2", SmallDirectory)


def open_image(
    data: bytes, formats: tuple[str, ...], max_pixels: int, min_side: int | None
) -> tuple[Image.Image, bool]:
    """Return an image and whether it is large; raise if it costs too much."""
    if data.count(b"Exif\0\0") > MAX_EXIF_BLOCKS:
        raise ValueError("too many EXIF blocks")
    Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow checks the frames inside a file.
    file = TimedBytesIO(data, seconds=0.5)  # for the header
    image = Image.open(file, formats=formats)
    width, height = decoded_size(image)
    if image.format == "WEBP":
        frames = 1 + getattr(image, "is_animated", False)
        max_pixels = min(max_pixels, MAX_WEBP_PIXELS // frames)
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        refuse_large(max_pixels)
    if image.format == "BMP" and image.info.get("compression") in (1, 2):
        abort(415, "Run-length encoded BMP is not supported: send it as PNG.")
    scans = data.count(b"\xff\xda\0") if image.format in ("JPEG", "MPO") else 0
    if scans * max(width * height, 10_000) > MAX_SCANNED_PIXELS:
        raise ValueError("too many scans")
    if min_side:
        image.draft(None, (min_side, min_side))
    file.deadline += MAX_CPU_SECONDS
    pixels = max(width * height * scans // 8, image.width * image.height)
    return image, pixels > LARGE_PIXELS


def decoded_size(image: Image.Image) -> tuple[int, int]:
    """Return the width and height that are decoded: all of the tiles of a TIFF."""
    tags = getattr(image, "tag_v2", {})
    width, length = TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH
    tile = max(tags.get(width, 1), tags.get(length, 1))
    return ceil(image.width / tile) * tile, ceil(image.height / tile) * tile


def refuse_large(max_pixels: int) -> NoReturn:
    limits = f"{max_pixels:,} pixels, or {MAX_SIDE:,} on one side"
    abort(413, f"The image has over {limits}: scale it down.")
