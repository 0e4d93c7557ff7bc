"""How many bytes of requests' bodies are in memory at once."""

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

SMALL_BODY, MEMORY = 1_000_000, 256_000_000  # bytes
WAIT_SECONDS = 30.0
BUSY = "Too many large uploads are in memory: retry in 5 s."

_changed = threading.Condition()
_used = 0  # bytes


def call_with_memory(
    application: Callable[[Any, Any], Iterable[bytes]],
    environ: Any,
    start: Any,
    max_body: int = MEMORY,
) -> Iterable[bytes]:
    """Call a WSGI application once there is memory for the body of the request.

    A small body never waits, nor does one over `max_body`, which is not read. Others
    are refused after WAIT_SECONDS.
    """
    global _used
    chunked = "HTTP_TRANSFER_ENCODING" in environ
    size = MEMORY // 16 if chunked else int(environ.get("CONTENT_LENGTH") or 0)
    size = min(size, MEMORY) if SMALL_BODY < size <= max_body else 0
    with _changed:
        if not _changed.wait_for(lambda: _used + size <= MEMORY, WAIT_SECONDS):
            return _refuse(start)
        _used += size
    try:
        return application(environ, start)
    finally:
        with _changed:
            _used -= size
            _changed.notify_all()


def _refuse(start: Any) -> Iterable[bytes]:
    problem = {"title": "Service Unavailable", "status": 503, "detail": BUSY}
    body = json.dumps(problem).encode() + b"\n"
    headers = [("Content-Type", "application/problem+json"), ("Retry-After", "5")]
    start("503 Service Unavailable", [*headers, ("Content-Length", str(len(body)))])
    return [body]
