"""What gunicorn's socket tells and lets us do beneath WSGI; a no-op elsewhere."""

import select
import time
from typing import Any

STALL = 10.0  # seconds without a byte after which a client is given up
DRAIN = 5.0  # seconds spent on reading the rest of a refused body
# Systems without this event tell of a full close alone, which is always reported.
HANG_UP = getattr(select, "POLLRDHUP", 0)

Environ = dict[str, Any]


def limit_stalls(environ: Environ) -> None:
    """Let reading the body end in a 400 when the client stops sending."""
    if connection := environ.get("gunicorn.socket"):
        connection.settimeout(STALL)


def hung_up(environ: Environ) -> bool:
    """Tell whether the client has closed its end."""
    if "gunicorn.socket" not in environ:
        return False
    poll = select.poll()
    poll.register(environ["gunicorn.socket"], HANG_UP)
    return bool(poll.poll(0))


def drain(environ: Environ) -> None:
    """Read on after a refusal: a client whose upload is cut off never sees the answer.

    The answer has left by then, so a client that reads it stops sending at once.
    """
    if "gunicorn.socket" not in environ:
        return
    until = time.monotonic() + DRAIN
    try:
        while time.monotonic() < until and environ["wsgi.input"].read(1 << 16):
            pass
    except Exception:
        return  # A body that is broken as well: gunicorn closes the connection.
