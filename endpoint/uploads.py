"""An HTTP request to its uploads, whichever way they were sent."""

import io
import re
from dataclasses import replace
from typing import IO, Any

import flask
from pydantic import BaseModel
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, abort
from werkzeug.utils import cached_property
from werkzeug.wrappers import Request

from model_interface.fields import Values, parse_fields
from model_interface.files import OCTETS, Upload, parsing_lock, to_upload
from model_interface.model_info import usage

MAX_JSON_COMMAS = 10_000  # More could be a flood of small objects.
# A form that holds a text. Parsing it would take long for a text that is no form.
TEXT_FORM = re.compile(rb"(?:\w+=[^&]*&){0,100}text=")


class InMemoryRequest(flask.Request):
    """Keep a form's files in memory, which MAX_CONTENT_LENGTH bounds, not in /tmp."""

    @cached_property
    def stream(self) -> IO[bytes]:
        """Read a body of known length at once: Werkzeug copies it several times."""
        stream = super().stream  # It refuses a body that is too long.
        if self.content_length is None or self.mimetype == "multipart/form-data":
            return stream
        return io.BytesIO(self.environ["wsgi.input"].read(self.content_length))

    def _get_file_stream(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        return io.BytesIO()


def parse_uploads(
    request: Request, accepts: str, fields: type[BaseModel], route: str = ""
) -> list[Upload]:
    """Return the request's uploads in order; 400 without one, 413 over a limit."""
    kind, inputs, others = accepts.partition("/")[0], [], Values()
    values = read_values(request, kind)
    for name, value in values.items(True):
        is_file = isinstance(value, Upload) and name not in fields.model_fields
        if name not in (kind, "file") and not is_file:
            others.add(name, value)
        elif value or len(values.getlist(name)) > 1:  # Answers keep their positions.
            inputs.append(value)
    if not inputs:
        abort(400, f"The request has no {kind}. {usage(accepts)}")
    if len(inputs) > (request.max_form_parts or len(inputs)):
        abort(413, f"A request holds at most {request.max_form_parts} inputs.")
    # The fields first: they are cheap, and their mistakes need no decoding.
    own = parse_fields(fields, others)
    try:
        uploads = [to_upload(value, kind) for value in inputs]
    except ValueError as error:
        abort(400, f'"{kind}" {error}. {usage(accepts)}')
    return [replace(upload, fields=own, route=route) for upload in uploads]


def read_values(request: Request, kind: str) -> Values:
    """Return what was sent under each name: strings, uploads and what JSON held."""
    data, values = read_body(request), Values()
    if request.mimetype == "multipart/form-data":
        for name, file in request.files.items(True):
            if file.filename:
                values.add(name, Upload(file.read(), file.mimetype or OCTETS))
        values.update(request.form)
        if kind != "text" and {"file", kind} & request.form.keys():
            abort(400, f"The file field holds text: an @ is missing. {usage(kind)}")
    elif request.mimetype == "application/json":
        for name, value in parse_json(request, data, kind).items():
            is_several = isinstance(value, list) and name in (kind, "file")
            values.setlist(name, value if is_several else [value])
    elif kind == "text" and TEXT_FORM.match(data) and request.form:
        values.update(request.form)  # curl --data-urlencode text=...
    elif data:  # curl --data-binary labels any file as a urlencoded form.
        values.add("file", Upload(data, request.mimetype or OCTETS))
    for name, sent in request.args.lists():  # The body's values go first.
        values.setlistdefault(name, sent)
    return values


def read_body(request: Request) -> bytes:
    """Return the body, b"" for a form, whose parts are in request.files and .form."""
    is_form = request.mimetype == "multipart/form-data"
    try:
        data = request.get_data(parse_form_data=is_form)
        # Werkzeug reports no error for a body that ends early or reaches its limit.
        if request.content_length is None:
            request.stream.read(1)
        elif not is_form and len(data) < request.content_length:
            raise EOFError
    except RequestEntityTooLarge:
        size, text = request.max_content_length, request.max_form_memory_size
        limits = f"{size:,} bytes, and in a form {request.max_form_parts} files"
        abort(413, f"A request holds at most {limits} and {text:,} bytes of text.")
    except MemoryError:
        raise
    except Exception:  # Each server has its own for a body that is cut off.
        abort(400, "The request body is truncated or malformed.")
    request.environ.get("endpoint.body_received", lambda: None)()
    return data


def parse_json(request: Request, data: bytes, kind: str) -> dict[str, Any]:
    """Return the JSON object of the body, {} where it holds another value."""
    if data.count(b",") > MAX_JSON_COMMAS:
        abort(413, f"JSON holds at most {MAX_JSON_COMMAS:,} commas: send less at once.")
    try:
        with parsing_lock:
            body = request.get_json()
    except (BadRequest, RecursionError):
        abort(400, f"The JSON is malformed. {usage(kind)}")
    return body if isinstance(body, dict) else {}
