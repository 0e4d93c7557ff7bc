"""An upload to an upright RGB image, or a 4xx."""

import os
import warnings
from contextlib import suppress
from math import ceil
from typing import IO

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError
from werkzeug.exceptions import HTTPException, abort

from endpoint.decoders import LARGE_SLOTS, MAX_CPU_SECONDS, TimedBytesIO, slot
from endpoint.settings import read_settings
from endpoint.uploads import Upload

# Pillow's other decoders have a history of security holes; EPS starts a program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_SIDE = 65_536  # pixels; decoders spend time on each row, however short it is.
MAX_SCANNED_PIXELS = 1_000_000_000  # libjpeg goes over the whole image once a scan.
MAX_TAG_BYTES = 400_000  # of numbers, in one directory of a TIFF or of EXIF
LARGE_PIXELS = 4_000_000  # A larger image waits for one of the few large slots.
TURNS = dict(zip(range(2, 9), map(Image.Transpose, (0, 3, 1, 5, 4, 6, 2))))

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
            raise ValueError("too many numbers")


setattr(TiffImagePlugin, "ImageFileDirectory_v2", SmallDirectory)


def decode_image(upload: Upload, min_side: int | None = None) -> Image.Image:
    """Return the upload's first frame, upright, in RGB and fully decoded, or a 4xx.

    With `min_side` (pixels) a larger image is returned at a half, a third and so on of
    its size, which is faster, as long as no side becomes shorter than that.
    """
    max_pixels = read_settings().max_pixels
    Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow checks the frames inside a file.
    try:
        return _decode(upload, min_side or MAX_SIDE, max_pixels)
    except UnidentifiedImageError:
        abort(415, "Not a supported image: send JPEG, PNG, WEBP, GIF, BMP or TIFF.")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limits = f"{max_pixels:,} pixels, or {MAX_SIDE:,} on one side"
        abort(413, f"The image has over {limits}: scale it down.")
    except (HTTPException, MemoryError):
        raise  # Where the server is short of memory, the image may be fine.
    except Exception:  # A decoder may raise anything on a corrupt file.
        upload.check()  # The error may have been this one.
        abort(422, "The image is corrupt or takes too long to decode.")


def _decode(upload: Upload, min_side: int, max_pixels: int) -> Image.Image:
    with slot(upload):
        image, pixels = _open(upload.data, min_side, max_pixels)
        if pixels <= LARGE_PIXELS:
            return _load_upright(image, min_side)
        del image  # It may hold a canvas for all of its pixels.
    return LARGE_SLOTS.submit(_decode_large, upload, min_side, max_pixels).result()


def _decode_large(upload: Upload, min_side: int, max_pixels: int) -> Image.Image:
    upload.check()
    image, _ = _open(upload.data, min_side, max_pixels)
    return _load_upright(image, min_side)


def _open(data: bytes, min_side: int, max_pixels: int) -> tuple[Image.Image, int]:
    """Return an image and how many pixels will be decoded, or raise."""
    file = TimedBytesIO(data, seconds=0.2)  # for the header
    image = Image.open(file, formats=FORMATS)
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    tile = max(tags.get(322, 1), tags.get(323, 1))  # All of a tile is decoded.
    width, height = (ceil(side / tile) * tile for side in image.size)
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise Image.DecompressionBombError
    if image.format == "BMP" and image.info.get("compression") in (1, 2):
        abort(415, "Run-length encoded BMP is not supported: send it as PNG.")
    scans = data.count(b"\xff\xda\0") if image.format in ("JPEG", "MPO") else 0
    if scans * max(width * height, 10_000) > MAX_SCANNED_PIXELS:
        raise ValueError("too many scans")
    pixels = scans * width * height // 8 if scans else width * height
    image.draft(None, (min_side, min_side))  # A JPEG is decoded at that fraction.
    file.deadline += MAX_CPU_SECONDS
    return image, max(pixels, image.width * image.height)


def _load_upright(image: Image.Image, min_side: int) -> Image.Image:
    image.load()
    rgb = _to_rgb(image)
    if (factor := min(image.size) // min_side) > 1:
        rgb = rgb.reduce(factor)
    with suppress(Exception):  # Most images need no turn; a corrupt EXIF is ignored.
        return rgb.transpose(TURNS[image.getexif()[0x0112]])
    return rgb


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16 and 32 bits scaled to 8, alpha laid over white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        image = _rescale_to_uint8(image)
    elif image.mode == "La":
        image = image.convert("LA")  # the only mode that Pillow converts it to
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _rescale_to_uint8(image: Image.Image) -> Image.Image:
    """Map the lowest value to 0 and the highest to 255; these modes have no white."""
    values = np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)
    np.clip(values, -1e30, 1e30, out=values)  # A wider range overflows float32.
    values -= values.min()
    values *= 255 / max(float(values.max()), 1e-30)
    return Image.fromarray(values.astype(np.uint8))
