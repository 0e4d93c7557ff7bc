"""Who may send inputs: the API key, and pages of other sites."""

import hmac

from flask import current_app, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized


def authorize() -> None:
    """Raise 401 for a request without the API key, 403 for another site's page."""
    key = current_app.config["API_KEY"]
    names = ("Sec-Fetch-Site", "Origin", "Host")
    site, origin, host = map(request.headers.get, names)
    is_foreign = bool(origin) and str(origin).partition("://")[2] != host
    if not key and (site == "cross-site" if site else is_foreign):
        rule = "Pages of other sites may not send requests: let their server send them."
        raise Forbidden(rule)
    bearer = request.authorization and request.authorization.token
    sent = (bearer or "", request.headers.get("X-API-Key", ""))
    if key and not any([hmac.compare_digest(key.encode(), s.encode()) for s in sent]):
        raise Unauthorized(
            "Send the API key: Authorization: Bearer KEY, or X-API-Key: KEY.",
            www_authenticate=WWWAuthenticate("bearer"),
        )
