"""An upload to an upright RGB image, or a 4xx."""

from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from werkzeug.exceptions import HTTPException, abort

from endpoint.settings import read_settings
from model_helpers.image_header import open_image, refuse_large
from model_helpers.slots import large_pool, small_slots
from model_interface.files import Upload

# Pillow's other decoders have a history of security holes; EPS starts a program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def decode_image(upload: Upload, min_side: int | None = None) -> Image.Image:
    """Return the upload's first frame, upright, in RGB and fully decoded, or a 4xx.

    With `min_side` (pixels) a JPEG or a large image is scaled down by a whole number,
    which is faster, as long as no side becomes shorter than that.
    """
    max_pixels = read_settings().max_pixels
    try:
        with small_slots:
            upload.check()
            image, is_large = open_image(upload.data, FORMATS, max_pixels, min_side)
            if not is_large:
                return _load_upright(image)
            del image  # It may hold a canvas for all of its pixels.
        return large_pool.submit(_decode_large, upload, max_pixels, min_side).result()
    except UnidentifiedImageError:
        abort(415, "Not a supported image: send JPEG, PNG, WEBP, GIF, BMP or TIFF.")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        refuse_large(max_pixels)
    except (HTTPException, MemoryError):
        raise  # Where the server is short of memory, the image may be fine.
    except Exception:  # A decoder may raise anything on a corrupt file.
        abort(422, "The image is corrupt or takes too long to decode.")


def _decode_large(upload: Upload, max_pixels: int, min_side: int | None) -> Image.Image:
    upload.check()
    image, _ = open_image(upload.data, FORMATS, max_pixels, min_side)
    image = _load_upright(image)
    # Here, because the model's own resizing of many pixels holds no slot.
    if min_side and (factor := min(image.size) // min_side) > 1:
        image = image.reduce(factor)
    return image


def _load_upright(image: Image.Image) -> Image.Image:
    image.load()
    with suppress(Exception):  # A corrupt EXIF block is ignored.
        ImageOps.exif_transpose(image, in_place=True)
    return _to_rgb(image)


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
