"""How many bytes of requests' bodies are in memory at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SMALL_BODY, MEMORY = 1_000_000, 256_000_000  # bytes
WAIT_SECONDS = 30.0

_changed = threading.Condition()
_used = 0  # bytes


@contextmanager
def reserve_memory(environ: dict[str, Any], max_body: int = MEMORY) -> Iterator[bool]:
    """Wait until there is memory for the body of a request; tell whether there is.

    A small body never waits, nor does one over `max_body`, which is not read. Others
    wait for up to WAIT_SECONDS.
    """
    global _used
    size = int(environ.get("CONTENT_LENGTH") or 0)
    if "HTTP_TRANSFER_ENCODING" in environ:
        size = min(MEMORY // 16, max_body)  # a guess: it has no length
    size = min(size, MEMORY) if SMALL_BODY < size <= max_body else 0
    with _changed:
        is_free = _changed.wait_for(lambda: _used + size <= MEMORY, WAIT_SECONDS)
        size = size if is_free else 0
        _used += size
    try:
        yield is_free
    finally:
        with _changed:
            _used -= size
            _changed.notify_all()
