"""What Schemathesis sends for files: pictures, bent pictures and any bytes at all."""

import schemathesis
from hypothesis import strategies

from tests.conftest import picture

KINDS = [picture(9, 7, kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")]


@strategies.composite
def files(draw):
    whole = draw(strategies.sampled_from(KINDS))
    cut = draw(strategies.integers(1, len(whole)))
    return draw(strategies.sampled_from([whole, whole, whole[:cut]]))


either = files() | strategies.binary()
schemathesis.openapi.format("binary", either)
for kind in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, either)


@schemathesis.hook
def map_body(context, body):
    """Keep a request to three files: a hundred take their time."""
    if isinstance(body, dict) and isinstance(body.get("file"), list):
        body["file"] = body["file"][:3]
    return body
