"""Who may send inputs: the API key, and pages of other sites."""

import hmac

from flask import current_app, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized


def authorize() -> None:
    """Raise 401 for a request without the API key, 403 for another site's page."""
    key = current_app.config["API_KEY"]
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    is_foreign = origin and origin.partition("://")[2] != request.headers.get("Host")
    if not key and (site == "cross-site" if site else is_foreign):
        rule = "Pages of other sites may not send requests: let their server send them."
        raise Forbidden(rule)
    # request.authorization would take a key with = for a list of parameters.
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    sent = [request.headers.get("X-API-Key", "")]
    sent += [token.strip()] if scheme.lower() == "bearer" else []
    if key and not any([hmac.compare_digest(key.encode(), s.encode()) for s in sent]):
        raise Unauthorized(
            "Send the API key: Authorization: Bearer KEY, or X-API-Key: KEY.",
            www_authenticate=WWWAuthenticate("bearer"),
        )
