"""An HTTP request to its uploads, whichever way they were sent."""

import base64
import io
import mimetypes
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import flask
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge, abort
from werkzeug.wrappers import Request

from endpoint.limits import json_turn

ROOT = Path(__file__).parent.parent
SAMPLE_NAMES = {"image": "image.jpg", "audio": "audio.wav"}  # Text needs no file.
MAX_JSON_COMMAS = 10_000  # Base64 has none: more would be a flood of small objects.
OCTETS = "application/octet-stream"  # a file of any type
DATA_URI = re.compile("data:([^,]*);base64,")
Values = MultiDict[str, Any]


@dataclass(frozen=True)
class Upload:
    """One file or one JSON body, and the other values that were sent with it."""

    data: bytes
    media_type: str = OCTETS
    fields: Values = field(default_factory=MultiDict)
    route: str = ""  # what follows /predict/ in the URL
    check: Callable[[], None] = lambda: None  # raises once nobody waits any more

    @classmethod
    def from_file(cls, path: str | Path, **fields: Any) -> "Upload":
        """Read a file; a relative path starts at the root of the repository."""
        data = (ROOT / path).read_bytes()
        return cls(data, guess_media_type(str(path)), MultiDict(fields))


def guess_media_type(name: str) -> str:
    """Return the media type that a file name suggests."""
    return mimetypes.guess_type(name, strict=False)[0] or OCTETS


class InMemoryRequest(flask.Request):
    """Keep a form's files in memory, which MAX_CONTENT_LENGTH bounds, not in /tmp."""

    def _get_file_stream(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        return io.BytesIO()


def usage(accepts: str) -> str:
    """Explain how to send what a model accepts, a media type like "image/*"."""
    kind = accepts.partition("/")[0]
    if kind not in SAMPLE_NAMES:
        return 'Send JSON {"text": "..."}, a form with text, or the text as the body.'
    curl = f"curl -F file=@{SAMPLE_NAMES[kind]}"
    return (
        f'Send a file: {curl}, the file as the body, or JSON {{"{kind}": "<base64>"}}.'
    )


def parse_uploads(
    request: Request, accepts: str = "image/*", route: str = ""
) -> list[Upload]:
    """Return the request's uploads in order; 400 without one, 413 over a limit."""
    data, kind = read_body(request), accepts.partition("/")[0]
    is_text = kind not in SAMPLE_NAMES  # Values alone are then an upload.
    values: Values = MultiDict(request.args)
    files: list[tuple[bytes, str]] = []
    if request.mimetype == "multipart/form-data":
        files = form_files(request, kind)
        values.update(request.form)
    elif request.mimetype == "application/json":
        body = parse_json(request, data)
        files = [] if is_text else json_files(body, kind)
        for name, items in MultiDict(body).lists():
            values.setlist(name, items)
    elif is_text and data.startswith(b"text=") and request.form:
        values.update(request.form)  # curl --data-urlencode text=...
    elif data:  # curl --data-binary labels any file as a urlencoded form.
        files = [(data, request.mimetype or OCTETS)]
    if is_text and values and not files:
        files = [(b"", "text/plain")]
    if not files:
        abort(400, f"The request has no {kind}. {usage(accepts)}")
    return [Upload(data, media_type, values, route) for data, media_type in files]


def form_files(request: Request, kind: str) -> list[tuple[bytes, str]]:
    """Return the bytes and the media type of each file in a form."""
    files = [file for _, file in request.files.items(True) if file.filename]
    if not files and kind in SAMPLE_NAMES and {"file", kind} & request.form.keys():
        sample = SAMPLE_NAMES[kind]
        abort(400, f"The file field holds text: an @ is missing in file=@{sample}.")
    return [(file.read(), file.mimetype or OCTETS) for file in files]


def read_body(request: Request) -> bytes:
    """Return the body, b"" for a form, whose parts are in request.files and .form."""
    is_form = request.mimetype == "multipart/form-data"
    try:
        data = request.get_data(parse_form_data=is_form)
        # Werkzeug takes its own limit, or an early end, for the end of the body.
        if request.content_length is None:
            request.stream.read(1)
        elif not is_form and len(data) < request.content_length:
            raise EOFError
    except RequestEntityTooLarge:
        size, files = request.max_content_length, request.max_form_parts
        abort(413, f"A request holds at most {size:,} bytes and {files} files.")
    except Exception:  # Servers raise their own where a client misbehaves.
        abort(400, "The request body is truncated or malformed.")
    request.environ.get("endpoint.body_received", bool)()
    return data


def parse_json(request: Request, data: bytes) -> dict[str, Any]:
    """Return the JSON object of the body, {} where it holds none."""
    try:
        is_flood = data.count(b",") > MAX_JSON_COMMAS
        with json_turn:
            body = None if is_flood else request.get_json(silent=True)
    except RecursionError:
        body = None
    return body if isinstance(body, dict) else {}


def json_files(body: dict[str, Any], kind: str) -> list[tuple[bytes, str]]:
    """Take the file, as base64 or as a data: URI of it, out of a JSON object."""
    name = next((name for name in (kind, "file") if body.get(name)), kind)
    if not isinstance(text := body.pop(name, None), str):
        return []
    prefix = DATA_URI.match(text)
    start, media_type = (prefix.end(), prefix[1]) if prefix else (0, "")
    try:
        # Line breaks are usual in base64; any other foreign character is a mistake.
        digits = text[start:].encode("ascii").translate(None, b" \t\r\n")
        with json_turn:
            data = base64.b64decode(digits, validate=True)
    except ValueError:
        abort(400, f'"{name}" is not valid base64, nor a data: URI of it.')
    return [(data, media_type or OCTETS)]
