"""A request to its uploads, however they were sent; an upload to image, text, sound."""

import base64
import io
import math
import re
import time
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, abort
from werkzeug.wrappers import Request

# Decoders for other formats have a history of holes, and EPS starts a program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
FILES = {"image": "picture.jpg", "audio": "recording.wav"}  # Text needs no file.
SOUNDS = re.compile(rb"(?s)fLaC|OggS|RIFF....WAVE")  # how the formats begin
MAX_RATE = 192_000  # samples a second
MAX_VALUES = 10_000  # in one JSON body
SECONDS = 1.5  # of processor time to read a file; the largest PNG takes half
MAX_SCANNED = 2_000_000_000  # pixels, over all scans of a JPEG
SCAN = re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e]")  # how each begins
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's to Image.Transpose's
TiffImagePlugin.READ_LIBTIFF = True  # Pillow itself makes an object of every strip.
_pixels = 50_000_000


@dataclass(frozen=True)
class Upload:
    """One file or one JSON body: its bytes and the other values sent along."""

    data: bytes
    media_type: str = "application/octet-stream"
    fields: MultiDict = field(default_factory=MultiDict)
    route: str = ""  # what stood behind /predict/


def how_to_send(accepts: str) -> str:
    """Tell how a model gets what it accepts: image/*, audio/* or text/plain."""
    kind = accepts.partition("/")[0]
    if kind not in FILES:
        return 'Send JSON {"text": "..."}, a form with text, or the text as the body.'
    file = FILES[kind]
    return (
        f"Send a {file.partition('.')[0]}: curl -F file=@{file}, the file itself as "
        f'the body, or JSON {{"{kind}": "<base64>"}}.'
    )


def limit_pixels(pixels: int) -> None:
    """Refuse larger pictures from now on, in this process, before they are decoded."""
    global _pixels
    _pixels = Image.MAX_IMAGE_PIXELS = pixels  # Pillow itself refuses twice as many.
    # Its warnings quote the file, and Python remembers each that it has shown.
    warnings.filterwarnings("ignore", module=r"PIL\b")


def uploads(
    request: Request, accepts: str = "image/*", route: str = ""
) -> list[Upload]:
    """Return the request's files in order; 400 where there is none, 413 over limits.

    Where no file is needed, a form or JSON of values alone is an upload without data.
    """
    found = _sent(request, accepts)
    return [replace(upload, route=route) for upload in found]


def _sent(request: Request, accepts: str) -> list[Upload]:
    is_form = request.mimetype == "multipart/form-data"
    try:
        data = request.get_data(parse_form_data=is_form)
        # Werkzeug takes its own limit, or an early end, for the end of the body.
        if request.content_length is None:
            request.stream.read(1)
        elif not is_form and len(data) < request.content_length:
            raise EOFError
    except RequestEntityTooLarge:
        most, files = request.max_content_length, request.max_form_parts
        abort(413, f"One request holds at most {most:,} bytes and {files} files.")
    except Exception:  # Servers have their own for clients that misbehave.
        abort(400, "The body broke off or is malformed: try again.")
    if is_form:
        return _from_form(request, accepts)
    if request.mimetype == "application/json":
        return [_from_json(request, data, accepts)]
    # Any other body is the file: curl --data-binary calls a JPEG a urlencoded form.
    if not data:
        abort(400, f"The request is empty. {how_to_send(accepts)}")
    if accepts.startswith("text/") and data.startswith(b"text=") and request.form:
        return [Upload(b"", fields=_values(request))]  # curl --data-urlencode text=...
    return [Upload(data, request.mimetype, MultiDict(request.args))]


def _from_form(request: Request, accepts: str) -> list[Upload]:
    files = [file for _, file in request.files.items(multi=True) if file.filename]
    fields = _values(request)
    kind = accepts.partition("/")[0]
    if not files and kind not in FILES:
        return [Upload(b"", fields=fields)]
    if not files and ("file" in fields or kind in fields):
        file = FILES[kind]
        abort(400, f"The file field holds text: an @ is missing in file=@{file}.")
    if not files:
        abort(400, f"The form holds no file. {how_to_send(accepts)}")
    return [Upload(file.read(), file.mimetype, fields) for file in files]


def _values(request: Request) -> MultiDict:
    return MultiDict([*request.args.items(True), *request.form.items(True)])


def _from_json(request: Request, data: bytes, accepts: str) -> Upload:
    try:
        # Base64 has no commas: a flood of them is one of objects to build.
        body = request.get_json(silent=True) if data.count(b",") < MAX_VALUES else None
    except RecursionError:
        body = None
    fields = body if isinstance(body, dict) else {}
    kind = accepts.partition("/")[0]
    if kind not in FILES:
        if not fields:
            abort(400, f"The JSON is empty or malformed. {how_to_send(accepts)}")
        return Upload(b"", fields=MultiDict({**request.args, **fields}))
    name = next((name for name in (kind, "file") if fields.get(name)), None)
    if not isinstance(fields.get(name), str):
        noun = FILES[kind].partition(".")[0]
        abort(400, f'Send the {noun} as base64 in JSON: {{"{kind}": "<base64>"}}.')
    text = fields.pop(name)
    prefix = re.match("(?:data:([^,]*);base64,)?", text)
    try:
        # Line breaks are usual in base64, any other foreign character is a mistake.
        decoded = base64.b64decode("".join(text[prefix.end() :].split()), validate=True)
    except ValueError:
        abort(400, f'"{name}" is not valid base64, nor a data: URI of it.')
    media_type = prefix[1] or Upload.media_type
    return Upload(decoded, media_type, MultiDict({**request.args, **fields}))


def image(upload: Upload, side: int | None = None) -> Image.Image:
    """Return the upload's first frame, upright, in RGB and wholly decoded, or a 4xx.

    With `side` (pixels) a larger JPEG is decoded at a half, quarter or eighth of its
    size, in a fraction of the time, as long as no side of it becomes shorter.
    """
    try:
        with Image.open(_Source(upload.data), formats=FORMATS) as picture:
            _check_header(picture, upload.data)
            if side:
                picture.draft(None, (side, side))
            picture.load()
            return _rgb(_upright(picture))
    except Image.UnidentifiedImageError:
        abort(415, "This is no picture: send a JPEG, PNG, WEBP, GIF, BMP or TIFF file.")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        abort(413, f"The picture has over {_pixels:,} pixels: scale it down.")
    except MemoryError:
        raise  # That is not the picture's fault.
    except Exception:  # On a broken file a decoder may raise anything.
        abort(422, "The picture is broken or takes too long to decode: save it anew.")


def text(upload: Upload, longest: int = 10_000) -> str:
    """Return the upload's text, or a 4xx; `longest` is in characters."""
    texts = [upload.data] if upload.data else upload.fields.getlist("text")
    try:
        # JSON can spell one half of a character, which no tokenizer takes.
        data = [text.encode() if isinstance(text, str) else text for text in texts]
        words = b"".join(data).decode("utf-8-sig").strip()
    except UnicodeError:
        abort(415, "This is no text in UTF-8: save it as such.")
    except TypeError:  # JSON may hold anything.
        words = ""
    if len(texts) != 1 or not words:
        abort(400, f"Send one text. {how_to_send('text/plain')}")
    if len(words) > longest:
        abort(413, f"The text has over {longest:,} characters: shorten it.")
    return words


def audio(upload: Upload, rate: int, longest: float = 60.0) -> np.ndarray:
    """Return the upload's sound at `rate` samples a second, or a 4xx.

    Its channels are mixed to float32, full scale is 1; `longest` is in seconds.
    """
    import soundfile  # Only models that listen need it.

    if not SOUNDS.match(upload.data):
        abort(415, "This is no recording: send a WAV, FLAC or OGG file.")
    try:
        source = _Source(upload.data)
        with soundfile.SoundFile(source) as recording:
            samples = _mono(recording, longest)
        if source.is_over():
            raise ValueError("too slow")
        return _resampled(samples, recording.samplerate, rate)
    except (HTTPException, MemoryError):
        raise
    except Exception:
        abort(422, "The recording is broken or takes too long to decode: save it anew.")


class _Source(io.BytesIO):
    """A file that can be read for a while: decoders go through some byte by byte."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.until = time.thread_time() + SECONDS

    def read(self, size: int | None = -1) -> bytes:
        if self.is_over():
            raise ValueError("too slow")
        return super().read(size)

    def readinto(self, buffer: bytearray) -> int:
        """Let soundfile see an early end: its library cannot be thrown out of."""
        return 0 if self.is_over() else super().readinto(buffer)

    def is_over(self) -> bool:
        return time.thread_time() > self.until


def _check_header(picture: Image.Image, data: bytes) -> None:
    """Refuse what would take too much memory or time, before it does."""
    pixels = picture.width * picture.height
    if pixels > _pixels:
        raise Image.DecompressionBombError
    # libjpeg crosses the whole picture for every scan, and ten bytes make one.
    scans = len(SCAN.findall(data)) if picture.format in ("JPEG", "MPO") else 1
    if scans * max(pixels, 10_000) > MAX_SCANNED:
        raise ValueError("too many scans")


def _upright(picture: Image.Image) -> Image.Image:
    """Turn a photograph as its EXIF says; a broken block says nothing."""
    try:
        turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
    except Exception:
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16 and 32 bits scaled to 8, alpha laid over white."""
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        picture = _stretched(picture)
    elif picture.mode == "La":
        picture = picture.convert("LA")  # the only mode that it converts to
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture)
        return white
    # To convert RGB is to copy it.
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _stretched(picture: Image.Image) -> Image.Image:
    """Map the lowest value to 0, the highest to 255: such modes have no fixed white."""
    values = np.nan_to_num(np.asarray(picture, np.float32), posinf=0.0, neginf=0.0)
    np.clip(values, -1e30, 1e30, out=values)  # A wider span has no number.
    values -= values.min()
    values *= 255 / max(float(values.max()), 1e-30)
    return Image.fromarray(values.astype(np.uint8))


def _mono(recording: Any, longest: float) -> np.ndarray:
    """Read a recording whole, its channels mixed, but no further than allowed."""
    rate, told = recording.samplerate, recording.frames
    if rate > MAX_RATE:
        abort(413, f"The recording has {rate:,} samples a second, over {MAX_RATE:,}.")
    endless = told > 1 << 62  # what libsndfile says of a length that nobody told
    recording.seekable = lambda: False  # It seeks after it reads: no stream's end can.
    most, count, blocks = int(longest * rate), 0, []
    while (told <= most or endless) and count <= most:
        size = 1 + 1_000_000 // recording.channels
        block = recording.read(size, dtype="float32", always_2d=True)
        if not len(block):
            break
        if not np.isfinite(block).all():
            raise ValueError("values that are no numbers")
        blocks.append(block.clip(-1, 1).mean(1))
        count += len(block)
    else:
        abort(413, f"The recording lasts over {longest:g} seconds: cut it.")
    if count < told and not endless:
        raise ValueError("cut short")
    return np.concatenate(blocks)


def _resampled(samples: np.ndarray, source: int, rate: int) -> np.ndarray:
    """Change the samples a second; frequencies above the new rate's are left out."""
    if source == rate:
        return samples
    common = math.gcd(source, rate)
    # Silence behind the end makes both lengths whole and keeps it off the beginning.
    parts = math.ceil((len(samples) + source // 10) * common / source)
    before, after = parts * source // common, parts * rate // common
    spectrum = np.fft.rfft(samples, before)[: after // 2 + 1] * (after / before)
    return np.fft.irfft(spectrum, after)[: math.ceil(len(samples) * rate / source)]
