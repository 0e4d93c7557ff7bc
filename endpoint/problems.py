"""An error to the status it stands for and a sentence that says what to do."""

import logging
from typing import Any

from werkzeug.exceptions import (
    GatewayTimeout,
    HTTPException,
    InternalServerError,
    ServiceUnavailable,
)

from endpoint.worker import Failed, Gone, Late, Unready

log = logging.getLogger(__name__)

# For the errors that Werkzeug raises: its own descriptions speak to programmers.
SENTENCES = {
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
            return ServiceUnavailable(str(error), retry_after=error.retry_after)
        case Late():
            return GatewayTimeout("The deadline passed first: try again later.")
        case Gone():
            return ClientGone()
        case Failed():
            return InternalServerError("The model failed on this input: send another.")
    log.error("A request failed:", exc_info=error)
    return InternalServerError()


def details(error: HTTPException) -> dict[str, Any]:
    """Return the fields of RFC 9457."""
    own = error.description != type(error).description
    detail = error.description if own else SENTENCES.get(error.code, error.description)
    return {"title": error.name, "status": error.code, "detail": detail}
