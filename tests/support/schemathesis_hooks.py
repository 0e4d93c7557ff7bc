"""What Schemathesis sends as files: images, truncated images and arbitrary bytes."""

import schemathesis
from hypothesis import strategies

from tests.support.images import make_image

KINDS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
IMAGES = [make_image(9, 7, kind) for kind in KINDS]


@strategies.composite
def images(draw: strategies.DrawFn) -> bytes:
    image = draw(strategies.sampled_from(IMAGES))
    length = draw(strategies.integers(1, len(image)))
    return draw(strategies.sampled_from([image, image, image, image[:length]]))


files = images() | strategies.binary()
schemathesis.openapi.format("binary", files)
for media_type in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, files)


@schemathesis.hook
def map_body(context: object, body: object) -> object:
    """Send at most three files in a request: a hundred would take long."""
    if isinstance(body, dict) and isinstance(body.get("file"), list):
        body["file"] = body["file"][:3]
    return body
