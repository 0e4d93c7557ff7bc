"""Image files made in memory, and the bundled one."""

import io

from PIL import Image

from tests.support.server import ROOT

BULLDOG = ROOT / "french_bulldog.jpg"
CAPTION = "a french bulldog in a yellow sweater on a blue background"


def make_image(
    width: int = 64,
    height: int = 48,
    kind: str = "PNG",
    mode: str = "RGB",
    **options: object,
) -> bytes:
    """Return the bytes of a black image file."""
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind, **options)
    return file.getvalue()


def make_form(*files: bytes, field: str = "file") -> dict:
    """Return a form with files as arguments for Flask's test client."""
    return {"data": {field: [(io.BytesIO(data), "image") for data in files]}}
