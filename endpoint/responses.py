"""Outputs and errors to what is read: text, JSON, a picture, a problem or the page."""

import base64
import hashlib
import io
from collections.abc import Sequence
from functools import partial
from typing import Any

from flask import (
    Response,
    after_this_request,
    current_app,
    jsonify,
    render_template,
    request,
)
from PIL import Image
from werkzeug import exceptions
from werkzeug.exceptions import HTTPException, InternalServerError

from endpoint.batcher import Failed, Gone, Late, NotReady

TEXT, JSON, HTML, PNG = "text/plain", "application/json", "text/html", "image/png"
Answer = dict[str, Any] | bytes | HTTPException  # bytes are a picture, as PNG
# For the errors that Werkzeug raises: its own descriptions speak to programmers.
SENTENCES = {
    400: "The request is malformed: send it anew.",
    404: "There is nothing here: POST to /, or GET / to see what is served.",
    405: "This address takes another method: POST to / or /predict, GET the others.",
    500: "The server failed on this request; its log says why.",
}


class ClientGone(HTTPException):
    """Nobody reads this answer; nginx's number tells it apart in log and metrics."""

    code = 499
    name = "Client Closed Request"
    description = "The client hung up."


def as_http(error: Exception) -> HTTPException:
    """Return the HTTP error; one that nobody foresaw is logged and becomes a 500."""
    match error:
        case HTTPException():
            return error
        case NotReady():
            wait = error.retry_after
            sentence = f"{error}: try again in {wait} s."
            return exceptions.ServiceUnavailable(sentence, retry_after=wait)
        case Late():
            return exceptions.GatewayTimeout("The deadline passed: try again later.")
        case Gone():
            return ClientGone()
        case MemoryError():
            return exceptions.ServiceUnavailable(
                "No memory is left now.", retry_after=5
            )
        case Failed():
            return InternalServerError("The model failed on this input: send another.")
    current_app.logger.error("A request failed:", exc_info=error)
    return InternalServerError()


def details(error: HTTPException) -> dict[str, Any]:
    """Return the fields of RFC 9457."""
    own = error.description != type(error).description
    detail = error.description if own else SENTENCES.get(error.code, error.description)
    return {"title": error.name, "status": error.code, "detail": detail}


def problem(error: Exception) -> Response:
    """Answer with an error; a browser's form gets it on the page."""
    error = as_http(error)
    response = error.get_response()  # It holds Allow, Retry-After and the like.
    if wants_page():
        response.data, response.mimetype = page([error]), HTML
    else:
        response.data = current_app.json.dumps(details(error)) + "\n"
        response.mimetype = "application/problem+json"
    return response


def encode(model: Any, output: Any) -> Answer:
    """Return an output as the model writes it or, where that is asked for, draws it."""
    kind = request.accept_mimetypes.best_match((TEXT, JSON, HTML, PNG), default=TEXT)
    draw = getattr(model, "draw", lambda output: None)
    drawn = draw(output) if kind in (HTML, PNG) else None
    answer = drawn if drawn and kind == PNG else model.encode(output)
    if isinstance(answer, Image.Image):
        return png(answer)
    if drawn:  # The page shows both.
        answer = answer | {"image": _uri(png(drawn))}
    return answer


def negotiate(answers: Sequence[Answer]) -> Response:
    """Write the answers as the client likes them, those to its files in their order."""
    drawn = any(isinstance(answer, bytes) for answer in answers)
    kinds = (PNG, JSON, HTML, TEXT) if drawn else (TEXT, JSON, HTML)
    kind = request.accept_mimetypes.best_match(kinds, default=kinds[0])
    if kind == HTML:
        return Response(page(answers), mimetype=kind)
    if kind == PNG and len(answers) == 1:
        return Response(answers[0], mimetype=kind)
    items = [item(answer) for answer in answers]
    if kind != TEXT:  # A PNG holds no more than one picture; JSON holds them all.
        return jsonify(items[0] if len(items) == 1 else {"predictions": items})
    return Response("".join(f"{_line(item)}\n" for item in items), mimetype=kind)


def page(answers: Sequence[Answer] = ()) -> str:
    """Return the upload page with the answers to the files it sent."""
    items = [item(answer) for answer in answers]
    served = current_app.extensions["served"]
    text = render_template("index.html", items=items, served=served)
    after_this_request(partial(_protect, text))
    return text


def _protect(text: str, response: Response) -> Response:
    """Let the page run and wear its own, show files, ask this server: nothing else."""
    style = text.partition("<style>")[2].partition("</style>")[0]
    script = text.rpartition("<script>")[2].partition("</script>")[0]
    own = (hashlib.sha256(part.encode()).digest() for part in (style, script))
    style, script = (base64.b64encode(digest).decode() for digest in own)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'sha256-{script}'; "
        f"style-src 'sha256-{style}'; img-src blob: data:; media-src blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return response


def wants_page() -> bool:
    return request.accept_mimetypes.best_match((JSON, HTML)) == HTML


def item(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, HTTPException):
        return {"error": details(answer)}
    return {"image": _uri(answer)} if isinstance(answer, bytes) else answer


def _line(item: dict[str, Any]) -> str:
    error = item.get("error")
    return f"error: {error['detail']}" if error else str(next(iter(item.values())))


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _uri(png: bytes) -> str:
    return f"data:{PNG};base64,{base64.b64encode(png).decode()}"
