"""Outputs and errors to responses: text, JSON, PNG, problem+json or the page."""

from collections.abc import Sequence
from typing import Any

from flask import Response, current_app, json, jsonify, render_template, request
from werkzeug import exceptions
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from endpoint.job_queue import NotReady
from model_interface.answers import PNG, data_uri, media_type, to_answer, to_file
from model_interface.model_info import Model, ModelInfo

TEXT, JSON, HTML = "text/plain", "application/json", "text/html"
# The values of the dict may be files, images, or lists of them.
Answer = dict[str, Any] | HTTPException
# For the errors that Werkzeug raises: its own descriptions address programmers.
DEFAULT_DETAIL = {
    exceptions.BadRequest: "The request is malformed.",
    exceptions.NotFound: "Not found: POST to /, or GET / to see what is served.",
    MethodNotAllowed: "Method not allowed: POST to / or /predict, GET the other URLs.",
    InternalServerError: "The server failed on this request; the reason is in its log.",
}
# The page loads its own script and style, shows files and calls this server only.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; "
    "media-src blob: data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def to_http_error(error: BaseException) -> HTTPException:
    """Return the HTTP error for an error; log an unexpected one, which is a 500."""
    try:
        match error:
            case exceptions.SecurityError():
                return exceptions.BadRequest("This host name is not served here.")
            case HTTPException():
                return error
            case MemoryError():
                return NotReady("The server is out of memory")
        current_app.logger.error("A request failed:", exc_info=error)
        return InternalServerError()
    finally:  # The frames of a traceback would keep uploads and images in memory.
        error.__traceback__ = error.__context__ = error.__cause__ = None


def problem_body(error: HTTPException) -> dict[str, Any]:
    """Return the fields of RFC 9457."""
    detail = error.description
    if detail == type(error).description:
        detail = DEFAULT_DETAIL.get(type(error), detail or error.name)
    return {"title": error.name, "status": error.code, "detail": detail}


def error_response(error: Exception) -> Response:
    """Respond to an error; a browser's form gets it on the page."""
    error = to_http_error(error)
    body, kind = json.dumps(problem_body(error)) + "\n", "application/problem+json"
    if wants_page():
        body, kind = render_page([error]), HTML
    response = Response(body, error.code, mimetype=kind)
    for name, value in error.get_headers():  # Allow, Retry-After and the like
        response.headers.setdefault(name, value)
    return response


def encode(model: Model, info: ModelInfo, output: Any) -> Answer:
    """Encode the output; draw it if an image was requested, or the page."""
    kind = request.accept_mimetypes.best_match((TEXT, JSON, HTML, PNG), default=TEXT)
    drawing = info.draw(output) if info.draw and kind in (HTML, PNG) else None
    if drawing and kind == PNG:
        return to_answer(drawing)
    answer = to_answer(model.encode(output))
    name = "drawing" if "image" in answer else "image"
    return answer | {name: drawing} if drawing else answer  # The page shows both.


def respond(answers: Sequence[Answer]) -> Response:
    """Write the answers, in the order of the uploads, as the client accepts them."""
    values = [v for each in answers if isinstance(each, dict) for v in each.values()]
    typed = [(kind, value) for value in values if (kind := media_type(value))]
    files = dict(reversed(typed))  # the first of each type
    # An answer that begins with a file is sent as that file, unless JSON is accepted.
    is_file = any(media_type(first_value(each)) for each in answers)
    kinds = [*dict(typed), JSON, HTML, TEXT] if is_file else [TEXT, JSON, HTML, *files]
    kind = request.accept_mimetypes.best_match(kinds, default=kinds[0])
    if kind == HTML:
        return Response(render_page(answers), mimetype=HTML)
    if kind in files and len(answers) == 1 and (is_file or kind != TEXT):
        return Response(to_file(files[kind]).data, mimetype=kind)
    if kind == TEXT:
        lines = [f"{to_text(first_value(answer))}\n" for answer in answers]
        return Response("".join(lines), mimetype=TEXT)
    items = [to_json(answer) for answer in answers]
    return jsonify(items[0] if len(items) == 1 else {"predictions": items})


def first_value(answer: Answer) -> Any:
    if isinstance(answer, HTTPException):
        return f"error: {problem_body(answer)['detail']}"
    return next(iter(answer.values()), "")


def to_text(value: Any) -> str:
    """Return a value as one line: numbers and strings as they are, others as JSON."""
    if isinstance(value, str | int | float):
        return str(value)
    return json.dumps(value, default=data_uri, ensure_ascii=False)


def to_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as a JSON object, with files and images as data: URIs."""
    if isinstance(answer, HTTPException):
        return {"error": problem_body(answer)}
    # JSON has no NaN and no infinity: they become null.
    text = json.dumps(answer, default=data_uri)
    return dict(json.loads(text, parse_constant=lambda name: None))


def render_page(answers: Sequence[Answer] = ()) -> str:
    """Return the upload page with the answers to the files that it sent."""
    items = [(isinstance(each, HTTPException), to_json(each)) for each in answers]
    info = current_app.extensions["batcher"].info
    return render_template("index.html", items=items, info=info, **info.to_json())


def wants_page() -> bool:
    return request.accept_mimetypes.best_match((JSON, HTML)) == HTML
