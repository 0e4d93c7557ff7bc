"""Who asks: whether they may, and whether they still wait for the answer."""

import hmac
import select
from socket import socket

from flask import current_app, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized


def authorize() -> None:
    """Raise 401 for a request without ENDPOINT_API_KEY, where that is set."""
    key = current_app.config.get("API_KEY")
    bearer = request.authorization and request.authorization.token
    sent = bearer or request.headers.get("X-API-Key", "")
    if key is not None and not hmac.compare_digest(str(key).encode(), sent.encode()):
        raise Unauthorized(
            "Send the key: Authorization: Bearer KEY, or X-API-Key: KEY.",
            www_authenticate=WWWAuthenticate("bearer"),
        )


def hung_up(connection: socket | None) -> bool:
    """Tell whether the client has closed its end, where gunicorn lets us see it."""
    if connection is None:
        return False
    poll = select.poll()
    # Systems without this event tell of a full close alone, which is always reported.
    poll.register(connection, getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))
