"""Outputs and errors to what the client reads: text, JSON, a problem or the page."""

from collections.abc import Sequence
from typing import Any

from flask import Response, current_app, jsonify, render_template, request
from werkzeug import exceptions
from werkzeug.exceptions import HTTPException, InternalServerError

from endpoint.worker import Failed, Gone, Late, Unready

Answer = dict[str, Any] | HTTPException
# For the errors that Werkzeug raises: its own descriptions speak to programmers.
SENTENCES = {
    400: "The request is malformed: send it anew.",
    404: "There is nothing here: POST a picture to /, or GET / to see what is served.",
    405: "This address takes another method: POST a picture to / or /predict.",
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
        case Unready():
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
        response.data, response.mimetype = page([error]), "text/html"
    else:
        response.data = current_app.json.dumps(details(error)) + "\n"
        response.mimetype = "application/problem+json"
    return response


def negotiate(answers: Sequence[Answer]) -> Response:
    """Write the answers as the client likes them, those to its files in their order."""
    kinds = ("text/plain", "application/json", "text/html")
    kind = request.accept_mimetypes.best_match(kinds, default=kinds[0])
    if kind == "text/html":
        return Response(page(answers), mimetype=kind)
    items = [_item(answer) for answer in answers]
    if kind == "application/json":
        return jsonify(items[0] if len(items) == 1 else {"predictions": items})
    return Response("".join(f"{_line(item)}\n" for item in items), mimetype=kind)


def page(answers: Sequence[Answer] = ()) -> str:
    """Return the upload page with the answers to the files it sent."""
    items = [_item(answer) for answer in answers]
    served = current_app.extensions["served"]
    return render_template("index.html", items=items, served=served)


def wants_page() -> bool:
    kinds = ("application/json", "text/html")
    return request.accept_mimetypes.best_match(kinds) == "text/html"


def _item(answer: Answer) -> dict[str, Any]:
    failed = isinstance(answer, HTTPException)
    return {"error": details(answer)} if failed else answer


def _line(item: dict[str, Any]) -> str:
    error = item.get("error")
    return f"error: {error['detail']}" if error else str(next(iter(item.values())))
