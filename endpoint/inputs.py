"""A request to its uploads, whichever way they were sent, and an upload to an image."""

import base64
import io
import warnings
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import (
    BadRequest,
    RequestEntityTooLarge,
    UnprocessableEntity,
    UnsupportedMediaType,
)
from werkzeug.wrappers import Request

# Decoders for other formats have a history of holes, and EPS starts a program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
FILE_FIELDS = ("image", "file")
HOW_TO_SEND = (
    "Send a picture: curl -F file=@picture.jpg, the file itself as the body, or JSON "
    '{"image": "<base64>"}.'
)


@dataclass(frozen=True)
class Upload:
    """One file or one JSON body: its bytes and the other values sent along."""

    data: bytes
    media_type: str = "application/octet-stream"
    fields: MultiDict = field(default_factory=MultiDict)


def limit_pixels(pixels: int) -> None:
    """Refuse larger pictures from now on, in this process, before they are decoded."""
    Image.MAX_IMAGE_PIXELS = pixels
    # Up to twice its limit Pillow only warns.
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def uploads(request: Request) -> list[Upload]:
    """Return the request's files in order; 400 where there is none, 413 over limits."""
    try:
        if request.mimetype == "multipart/form-data":
            return _from_form(request)
        if request.mimetype == "application/json":
            return [_from_json(request)]
        # Any other body is the file: curl --data-binary calls a JPEG a urlencoded form.
        data = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise RequestEntityTooLarge(
            f"Too large: one request holds at most {request.max_content_length:,} bytes "
            f"and {request.max_form_parts} files."
        ) from None
    if not data:
        raise BadRequest(f"The request is empty. {HOW_TO_SEND}")
    return [Upload(data, request.mimetype, MultiDict(request.args))]


def _from_form(request: Request) -> list[Upload]:
    files = [file for _, file in request.files.items(multi=True) if file.filename]
    fields = MultiDict([*request.args.items(True), *request.form.items(True)])
    if not files and any(name in fields for name in FILE_FIELDS):
        raise BadRequest(
            "The form's file field holds text, not a file. With curl, put an @ before "
            "the path: curl -F file=@picture.jpg."
        )
    if not files:
        raise BadRequest(f"The form holds no file. {HOW_TO_SEND}")
    return [Upload(file.read(), file.mimetype, fields) for file in files]


def _from_json(request: Request) -> Upload:
    try:
        body = request.get_json(cache=False, silent=True)
    except RecursionError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest('The body is not a JSON object such as {"image": "<base64>"}.')
    name = next((name for name in FILE_FIELDS if body.get(name)), None)
    if name is None or not isinstance(body[name], str):
        raise BadRequest(
            'The JSON has no "image" with the picture as base64 text in it.'
        )
    header, _, text = body.pop(name).rpartition(",")
    if header and not (header.startswith("data:") and header.endswith(";base64")):
        raise BadRequest(
            '"image" must be base64, or data:image/jpeg;base64, before it.'
        )
    try:
        # Line breaks are usual in base64, any other foreign character is a mistake.
        data = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise BadRequest('The text in "image" is not valid base64.') from None
    media_type = header.removeprefix("data:").partition(";")[0]
    return Upload(data, media_type, MultiDict({**request.args, **body}))


def image(upload: Upload) -> Image.Image:
    """Return the upload as an upright RGB image, wholly decoded, or a 4xx.

    Of an animation it is the first frame; what is transparent turns white.
    """
    try:
        with Image.open(io.BytesIO(upload.data), formats=FORMATS) as picture:
            return _rgb(ImageOps.exif_transpose(picture))
    except Image.UnidentifiedImageError:
        raise UnsupportedMediaType(
            "This is not an image in a format that is taken here: send JPEG, PNG, WEBP, "
            "GIF, BMP or TIFF."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise RequestEntityTooLarge(
            f"The picture has more than {Image.MAX_IMAGE_PIXELS:,} pixels: scale it down."
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UnprocessableEntity(
            "The picture is damaged or cut short and cannot be decoded: send it again."
        ) from error


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16 and 32 bits scaled to 8, alpha laid over white."""
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        picture = _stretched(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _stretched(picture: Image.Image) -> Image.Image:
    """Map the lowest to the highest value onto 0 to 255: such modes have no fixed white."""
    values = np.nan_to_num(np.asarray(picture, np.float64), posinf=0.0, neginf=0.0)
    span = np.ptp(values) or 1.0
    return Image.fromarray(((values - values.min()) * (255 / span)).astype(np.uint8))
