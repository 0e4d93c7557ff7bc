"""Files in requests and answers: bytes with a media type, also as data: URIs."""

import base64
import io
import mimetypes
import re
import threading
from dataclasses import dataclass
from typing import Any

from PIL import Image

OCTETS = "application/octet-stream"  # a file of any type
PNG = "image/png"
parsing_lock = threading.Lock()  # JSON and base64 hold the GIL: parse one at a time.
DATA_URI = re.compile(r"data:([ -+\--~]*);base64,")  # a type in ASCII


@dataclass(frozen=True)
class File:
    data: bytes
    media_type: str = OCTETS


def guess_media_type(name: str) -> str:
    """Return the media type that a file name suggests."""
    return mimetypes.guess_type(name, strict=False)[0] or OCTETS


def media_type(value: Any) -> str | None:
    """Return the media type of a file or an image, None for any other value."""
    return PNG if isinstance(value, Image.Image) else getattr(value, "media_type", None)


def to_file(value: Any) -> File:
    """Return a file as it is, and an image as PNG."""
    if isinstance(value, File):
        return value
    file = io.BytesIO()
    value.save(file, "PNG")
    return File(file.getvalue(), PNG)


def from_base64(text: str) -> File:
    """Return the file of a data: URI or of plain base64, or raise ValueError."""
    prefix = DATA_URI.match(text)
    start, kind = (prefix.end(), prefix[1]) if prefix else (0, "")
    # Line breaks are usual in base64; any other foreign character is a mistake.
    digits = text[start:].encode("ascii").translate(None, b" \t\r\n")
    with parsing_lock:
        return File(base64.b64decode(digits, validate=True), kind or OCTETS)


def data_uri(value: Any) -> str:
    """Return a file or an image as a data: URI; TypeError for any other value."""
    if not media_type(value):
        raise TypeError(f"A value of type {type(value).__name__} is not JSON.")
    file = to_file(value)
    return f"data:{file.media_type};base64,{base64.b64encode(file.data).decode()}"
