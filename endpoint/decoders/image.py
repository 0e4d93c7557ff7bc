"""An upload to an upright RGB image, or a 4xx."""

import re
import warnings
from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from werkzeug.exceptions import abort

from endpoint.decoders import TimedBytesIO
from endpoint.settings import read_settings
from endpoint.uploads import Upload

# Pillow's other decoders have a history of security holes; EPS starts a program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# libjpeg goes over the whole image once a scan, and ten bytes make a scan.
JPEG_SOS = re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e]")
MAX_SCANNED_PIXELS = 2_000_000_000  # over all scans of a JPEG

TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader makes an object per strip.
# Pillow's warnings quote the file, and Python remembers each that it has shown.
warnings.filterwarnings("ignore", module=r"PIL\b")


def decode_image(upload: Upload, min_side: int | None = None) -> Image.Image:
    """Return the upload's first frame, upright, in RGB and fully decoded, or a 4xx.

    With `min_side` (pixels) a larger JPEG is decoded at a half, quarter or eighth of
    its size, which is faster, as long as no side becomes shorter than that.
    """
    max_pixels = read_settings().max_pixels
    Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow checks the frames inside a file.
    try:
        with Image.open(TimedBytesIO(upload.data), formats=FORMATS) as image:
            _check_header(image, upload.data, max_pixels)
            if min_side:
                image.draft(None, (min_side, min_side))
            image.load()
            with suppress(Exception):  # A corrupt EXIF block is ignored.
                ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except UnidentifiedImageError:
        abort(415, "Not a supported image: send JPEG, PNG, WEBP, GIF, BMP or TIFF.")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        abort(413, f"The image has over {max_pixels:,} pixels: scale it down.")
    except MemoryError:
        raise  # The server is short of memory; the image may be fine.
    except Exception:  # A decoder may raise anything on a corrupt file.
        abort(422, "The image is corrupt or takes too long to decode.")


def _check_header(image: Image.Image, data: bytes, max_pixels: int) -> None:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise Image.DecompressionBombError
    scans = len(JPEG_SOS.findall(data)) if image.format in ("JPEG", "MPO") else 1
    if scans * max(pixels, 10_000) > MAX_SCANNED_PIXELS:
        raise ValueError("too many scans")


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16 and 32 bits scaled to 8, alpha laid over white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        image = _rescale_to_uint8(image)
    elif image.mode == "La":
        image = image.convert("LA")  # the only mode that Pillow converts it to
    if image.has_transparency_data:
        image = image.convert("RGBA")
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
