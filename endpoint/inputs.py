"""A request to its uploads, whichever way they were sent, and an upload to an image."""

import base64
import io
import json
import re
import time
import warnings
from dataclasses import dataclass, field

import numpy as np
from PIL import ExifTags, Image
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
MAX_VALUES = 10_000  # in one JSON body
SECONDS = 1.5  # of processor time to read a picture; the largest, as PNG, takes half
MAX_SCANNED = 2_000_000_000  # pixels, over all scans of a JPEG
# libjpeg crosses the whole picture for each scan, and a scan may be ten bytes long.
SCAN = re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e]")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HOW_TO_SEND = (
    "Send a picture: curl -F file=@picture.jpg, the file itself as the body, or JSON "
    '{"image": "<base64>"}.'
)
_pixels = 50_000_000


@dataclass(frozen=True)
class Upload:
    """One file or one JSON body: its bytes and the other values sent along."""

    data: bytes
    media_type: str = "application/octet-stream"
    fields: MultiDict = field(default_factory=MultiDict)


def limit_pixels(pixels: int) -> None:
    """Refuse larger pictures from now on, in this process, before they are decoded."""
    global _pixels
    # Pillow's own check catches what grows after the header, but only at twice this.
    _pixels = Image.MAX_IMAGE_PIXELS = pixels
    # Its warnings quote the file, and Python remembers each one that it has shown.
    warnings.filterwarnings("ignore", module=r"PIL\b")


def uploads(request: Request) -> list[Upload]:
    """Return the request's files in order; 400 where there is none, 413 over limits."""
    is_form = request.mimetype == "multipart/form-data"
    try:
        data = request.get_data(parse_form_data=is_form)
    except RequestEntityTooLarge:
        raise RequestEntityTooLarge(
            f"Too large: one request holds at most {request.max_content_length:,} bytes "
            f"and {request.max_form_parts} files."
        ) from None
    except Exception as error:  # Each server has its own for a client that misbehaves.
        raise BadRequest(
            "The body broke off or is malformed: send it again."
        ) from error
    if is_form:
        return _from_form(request)
    if request.mimetype == "application/json":
        return [_from_json(request, data)]
    # Any other body is the file: curl --data-binary calls a JPEG a urlencoded form.
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


def _from_json(request: Request, data: bytes) -> Upload:
    try:
        # Base64 has no commas: many of them are a flood of objects to build.
        body = json.loads(data) if data.count(b",") < MAX_VALUES else None
    except (ValueError, RecursionError):
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
        with Image.open(_Source(upload.data), formats=FORMATS) as picture:
            _check_work(picture, upload.data)
            picture.load()
            return _rgb(_upright(picture))
    except Image.UnidentifiedImageError:
        raise UnsupportedMediaType(
            "This is not an image in a format that is taken here: send JPEG, PNG, WEBP, "
            "GIF, BMP or TIFF."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise RequestEntityTooLarge(
            f"The picture has more than {_pixels:,} pixels: scale it down."
        ) from None
    except Laborious:
        raise UnprocessableEntity(
            "The picture takes too long to decode: save it anew as a plain JPEG or PNG."
        ) from None
    except MemoryError:
        raise  # That is not the picture's fault.
    except Exception as error:  # On a broken file a decoder may raise anything.
        raise UnprocessableEntity(
            "The picture is damaged or cut short and cannot be decoded: send it again."
        ) from error


class Laborious(Exception):
    """The file is built to keep its decoder busy."""


class _Source(io.BytesIO):
    """A file that is read to its end only in time: Pillow parses some byte by byte."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.until = time.thread_time() + SECONDS

    def read(self, size: int | None = -1) -> bytes:
        if time.thread_time() > self.until:
            raise Laborious
        return super().read(size)


def _check_work(picture: Image.Image, data: bytes) -> None:
    """Refuse a picture by what its header says, before it takes memory and time."""
    pixels = picture.width * picture.height
    if pixels > _pixels:
        raise Image.DecompressionBombError
    # 10,000 pixels more, since a scan of few also takes its time to begin.
    scans = len(SCAN.findall(data)) if picture.format in ("JPEG", "MPO") else 1
    if scans * (pixels + 10_000) > MAX_SCANNED:
        raise Laborious


def _upright(picture: Image.Image) -> Image.Image:
    """Turn a photograph as its EXIF says; a broken block says nothing."""
    try:
        turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
    except MemoryError:
        raise
    except Exception:
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16 and 32 bits scaled to 8, alpha laid over white."""
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        picture = _stretched(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture)
        return white
    return picture.convert("RGB")


def _stretched(picture: Image.Image) -> Image.Image:
    """Map the lowest to the highest value onto 0 to 255: such modes have no fixed white."""
    values = np.nan_to_num(np.asarray(picture, np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    values *= 255 / (high - low or 1.0)
    values -= low * 255 / (high - low or 1.0)
    return Image.fromarray(values.astype(np.uint8))
