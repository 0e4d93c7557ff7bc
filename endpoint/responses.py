"""Outputs and errors to responses: text, JSON, PNG, problem+json or the page."""

import base64
import io
from collections.abc import Sequence
from typing import Any

from flask import Response, current_app, json, jsonify, render_template, request
from PIL import Image
from werkzeug.exceptions import (
    GatewayTimeout,
    HTTPException,
    InternalServerError,
    ServiceUnavailable,
)

from endpoint.batcher import (
    ClientDisconnected,
    DeadlineExceeded,
    NotReady,
    PredictionFailed,
)
from endpoint.model_info import Model, ModelInfo

TEXT, JSON, HTML, PNG = "text/plain", "application/json", "text/html", "image/png"
Answer = dict[str, Any] | bytes | HTTPException  # bytes are an image, as PNG
# For the errors that Werkzeug raises: its own descriptions address programmers.
DEFAULT_DETAIL = {
    400: "The request is malformed.",
    404: "Not found: POST to /, or GET / to see what is served.",
    405: "Method not allowed: POST to / or /predict, GET the other URLs.",
    500: "The server failed on this request; the reason is in its log.",
}
# The page loads its own script and style, shows files and calls this server only.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; "
    "media-src blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


class ClientClosedRequest(HTTPException):
    """nginx's 499: no client reads it, but log and metrics can tell it apart."""

    code = 499
    name = "Client Closed Request"
    description = "The client disconnected."


def to_http_error(error: Exception) -> HTTPException:
    """Return the HTTP error for an error; an unexpected one is logged and a 500.

    It has no traceback: while it is kept, that would keep uploads and images.
    """
    match error:
        case HTTPException():
            error.__context__ = error.__cause__ = None
            return error.with_traceback(None)
        case NotReady():
            wait = error.retry_after
            detail = f"{error}: retry in {wait} s."
            return ServiceUnavailable(detail, retry_after=wait)
        case DeadlineExceeded():
            return GatewayTimeout("The deadline passed: retry later.")
        case ClientDisconnected():
            return ClientClosedRequest()
        case MemoryError():
            return ServiceUnavailable("The server is out of memory.", retry_after=5)
        case PredictionFailed():
            return InternalServerError("The model failed on this input.")
    current_app.logger.error("A request failed:", exc_info=error)
    return InternalServerError()


def problem_body(error: HTTPException) -> dict[str, Any]:
    """Return the fields of RFC 9457."""
    detail = error.description
    if detail == type(error).description:
        detail = DEFAULT_DETAIL.get(error.code, detail)
    return {"title": error.name, "status": error.code, "detail": detail}


def error_response(error: Exception) -> Response:
    """Respond to an error; a browser's form gets it on the page."""
    error = to_http_error(error)
    response = error.get_response()  # It carries Allow, Retry-After and the like.
    if wants_page():
        response.data, response.mimetype = render_page([error]), HTML
    else:
        response.data = json.dumps(problem_body(error)) + "\n"
        response.mimetype = "application/problem+json"
    return response


def encode(model: Model, info: ModelInfo, output: Any) -> Answer:
    """Encode the output; draw it if an image was requested, or the page."""
    kind = request.accept_mimetypes.best_match((TEXT, JSON, HTML, PNG), default=TEXT)
    drawing = info.draw(output) if kind in (HTML, PNG) else None
    answer = drawing if drawing and kind == PNG else model.encode(output)
    if isinstance(answer, Image.Image):
        return encode_png(answer)
    if drawing:  # The page shows both.
        answer = answer | {"image": data_uri(encode_png(drawing))}
    return answer


def respond(answers: Sequence[Answer]) -> Response:
    """Write the answers, in the order of the uploads, as the client accepts them."""
    has_image = any(isinstance(answer, bytes) for answer in answers)
    kinds = (PNG, JSON, HTML, TEXT) if has_image else (TEXT, JSON, HTML)
    kind = request.accept_mimetypes.best_match(kinds, default=kinds[0])
    if kind == HTML:
        return Response(render_page(answers), mimetype=HTML)
    if kind == PNG and len(answers) == 1:
        return Response(answers[0], mimetype=PNG)
    items = [to_json(answer) for answer in answers]
    if kind == TEXT:
        return Response("".join(f"{_line(item)}\n" for item in items), mimetype=TEXT)
    return jsonify(items[0] if len(items) == 1 else {"predictions": items})


def render_page(answers: Sequence[Answer] = ()) -> str:
    """Return the upload page with the answers to the files that it sent."""
    items = [to_json(answer) for answer in answers]
    info = current_app.extensions["batcher"].info
    return render_template("index.html", items=items, info=info)


def wants_page() -> bool:
    return request.accept_mimetypes.best_match((JSON, HTML)) == HTML


def to_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as a JSON object, an image in it as a data: URI."""
    if isinstance(answer, HTTPException):
        return {"error": problem_body(answer)}
    return {"image": data_uri(answer)} if isinstance(answer, bytes) else answer


def _line(item: dict[str, Any]) -> str:
    error = item.get("error")
    return f"error: {error['detail']}" if error else str(next(iter(item.values())))


def encode_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def data_uri(png: bytes) -> str:
    return f"data:{PNG};base64,{base64.b64encode(png).decode()}"
