"""An HTTP request to its uploads, whichever way they were sent."""

import base64
import errno
import io
import mimetypes
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import flask
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge, abort
from werkzeug.wrappers import Request

ROOT = Path(__file__).parent.parent
MAX_JSON_COMMAS = 10_000  # Base64 has none: more would be a flood of small objects.
DATA_URI = re.compile("data:([^,]*);base64,")
Values = MultiDict[str, Any]


@dataclass(frozen=True)
class Upload:
    """One file or one JSON body, and the other values that were sent with it."""

    data: bytes
    media_type: str = "application/octet-stream"
    fields: Values = field(default_factory=MultiDict)
    route: str = ""  # what follows /predict/ in the URL

    @classmethod
    def from_file(cls, path: str | Path, **fields: Any) -> "Upload":
        """Read a file; a relative path starts at the root of the repository."""
        data = (ROOT / path).read_bytes()
        return cls(data, guess_media_type(str(path)), MultiDict(fields))


def guess_media_type(name: str) -> str:
    """Return the media type that a file name suggests."""
    # strict=False includes WEBP.
    return mimetypes.guess_type(name, strict=False)[0] or Upload.media_type


class InMemoryRequest(flask.Request):
    """Keep the files of a form in memory: MAX_CONTENT_LENGTH bounds them already."""

    def _get_file_stream(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        return io.BytesIO()


@dataclass(frozen=True)
class FileInput:
    """Images and audio: a file in a form, the whole body, or base64 in JSON."""

    key: str  # the key in JSON
    sample: str  # a file name for the examples in messages

    @property
    def usage(self) -> str:
        return (
            f"Send a file: curl -F file=@{self.sample}, the file itself as the body, "
            f'or JSON {{"{self.key}": "<base64>"}}.'
        )

    def from_form(self, files: list[FileStorage], fields: Values) -> list[Upload]:
        if not files and ("file" in fields or self.key in fields):
            abort(400, f"The field holds text; write an @: -F file=@{self.sample}.")
        if not files:
            abort(400, f"The form has no file. {self.usage}")
        return [Upload(file.read(), file.mimetype, fields) for file in files]

    def from_json(self, body: dict[str, Any], args: Values) -> Upload:
        key = next((key for key in (self.key, "file") if body.get(key)), self.key)
        if not isinstance(body.get(key), str):
            abort(400, f'The JSON needs a file in base64: {{"{self.key}": "<base64>"}}.')
        data, media_type = decode_base64(key, body[key])
        rest = {name: value for name, value in body.items() if name != key}
        return Upload(data, media_type, merge_fields(rest, args))

    def from_body(self, request: Request, data: bytes) -> Upload:
        if not data:
            abort(400, f"The request body is empty. {self.usage}")
        # curl --data-binary labels a JPEG as a urlencoded form; it is the file.
        return Upload(data, request.mimetype, MultiDict(request.args))


class TextInput(FileInput):
    """Text: what FileInput takes, or values alone in a form or in JSON."""

    @property
    def usage(self) -> str:
        return 'Send JSON {"text": "..."}, a form with text, or the text as the body.'

    def from_form(self, files: list[FileStorage], fields: Values) -> list[Upload]:
        return super().from_form(files, fields) if files else [Upload(b"", fields=fields)]

    def from_json(self, body: dict[str, Any], args: Values) -> Upload:
        if not body:
            abort(400, f"The JSON is empty or malformed. {self.usage}")
        return Upload(b"", fields=merge_fields(body, args))

    def from_body(self, request: Request, data: bytes) -> Upload:
        if data.startswith(b"text=") and request.form:  # curl --data-urlencode
            return Upload(b"", fields=form_fields(request))
        return super().from_body(request, data)


FILE_INPUTS = {
    "image": FileInput("image", "image.jpg"),
    "audio": FileInput("audio", "audio.wav"),
}


def input_for(accepts: str) -> FileInput:
    """Return how the inputs of a media type like "image/*" are sent."""
    key = accepts.partition("/")[0]
    return FILE_INPUTS.get(key) or TextInput(key, "text.txt")


def parse_uploads(
    request: Request, accepts: str = "image/*", route: str = ""
) -> list[Upload]:
    """Return the request's uploads in order; 400 without one, 413 over a limit."""
    kind = input_for(accepts)
    data = read_body(request)
    if request.mimetype == "multipart/form-data":
        files = [file for _, file in request.files.items(True) if file.filename]
        uploads = kind.from_form(files, form_fields(request))
    elif request.mimetype == "application/json":
        uploads = [kind.from_json(parse_json(request, data), request.args)]
    else:
        uploads = [kind.from_body(request, data)]
    return [replace(upload, route=route) for upload in uploads]


def read_body(request: Request) -> bytes:
    """Return the body; a form is parsed instead, into request.files and .form."""
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
    except Exception as error:  # Servers raise their own where a client misbehaves.
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        abort(400, "The request body is truncated or malformed.")
    return data


def parse_json(request: Request, data: bytes) -> dict[str, Any]:
    """Return the JSON object of the body, {} where it holds none."""
    if data.count(b",") > MAX_JSON_COMMAS:
        return {}
    try:
        body = request.get_json(silent=True)
    except RecursionError:
        return {}
    return body if isinstance(body, dict) else {}


def decode_base64(key: str, text: str) -> tuple[bytes, str]:
    """Return the bytes and the media type of base64 or of a data: URI, or a 400."""
    prefix = DATA_URI.match(text)
    start, media_type = (prefix.end(), prefix[1]) if prefix else (0, "")
    try:
        # Line breaks are usual in base64; any other foreign character is a mistake.
        data = base64.b64decode("".join(text[start:].split()), validate=True)
    except ValueError:
        abort(400, f'"{key}" is not valid base64, nor a data: URI of it.')
    return data, media_type or Upload.media_type


def form_fields(request: Request) -> Values:
    return MultiDict([*request.args.items(True), *request.form.items(True)])


def merge_fields(body: dict[str, Any], args: Values) -> Values:
    """Return the values of a JSON body over those of the query."""
    fields: Values = MultiDict(args)
    for name, value in MultiDict(body).lists():
        fields.setlist(name, value)
    return fields
