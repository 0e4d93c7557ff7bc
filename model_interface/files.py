"""Files: bytes with a media type. An Upload is one that was sent, with its fields."""

import base64
import mimetypes
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import core_schema

ROOT = Path(__file__).parent.parent
OCTETS = "application/octet-stream"  # a file of any type
parsing_lock = threading.Lock()  # JSON and base64 hold the GIL: parse one at a time.
DATA_URI = re.compile(r"(?i:data):([ -+\--~]*);base64,")  # a type in ASCII


@dataclass(frozen=True)
class File:
    data: bytes
    media_type: str = OCTETS


def do_nothing() -> None:
    """A default that the cache can pickle, unlike a lambda."""


@dataclass(frozen=True)
class Upload(File):
    """One file or text, and the fields that were sent with it."""

    fields: Any = None  # an instance of the model's class Fields; a dict in an example
    route: str = ""  # what follows /predict/ in the URL
    check: Callable[[], None] = do_nothing  # an HTTP error once no client waits

    @classmethod
    def from_file(cls, path: str | Path, **fields: Any) -> "Upload":
        """Read a file; a relative path starts at the root of the repository."""
        data = (ROOT / path).read_bytes()
        return cls(data, guess_media_type(str(path)), fields)

    @classmethod
    def __get_pydantic_core_schema__(cls, *args: Any) -> Any:
        """Let a class Fields have a file: `mask: Upload`."""
        return core_schema.no_info_plain_validator_function(to_upload)

    @classmethod
    def __get_pydantic_json_schema__(cls, *args: Any) -> dict[str, Any]:
        return {"type": "string", "format": "binary"}


def guess_media_type(name: str) -> str:
    """Return the media type that a file name suggests."""
    return mimetypes.guess_type(name, strict=False)[0] or OCTETS


def to_upload(value: Any, kind: str = "") -> Upload:
    """Return a sent value as an upload, or raise ValueError with what is wrong."""
    if isinstance(value, Upload):
        return value
    if not isinstance(value, str):
        raise ValueError("is not a string")
    if kind == "text":
        return Upload(value.encode("utf-8", "surrogatepass"), "text/plain")
    try:
        return from_base64(value)
    except ValueError:
        raise ValueError("is not valid base64, nor a data: URI of it") from None


def from_base64(text: str) -> Upload:
    """Return the file in a data: URI or of plain base64, or raise ValueError."""
    prefix = DATA_URI.match(text)
    start, kind = (prefix.end(), prefix[1]) if prefix else (0, "")
    # Line breaks are usual in base64; any other foreign character is a mistake.
    digits = text[start:].encode("ascii").translate(None, b" \t\r\n")
    with parsing_lock:
        return Upload(base64.b64decode(digits, validate=True), kind or OCTETS)
