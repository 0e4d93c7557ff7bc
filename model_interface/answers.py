"""What a model's `encode` returned: values, and among them images and files."""

import base64
import io
import json
import re
from functools import partial
from typing import Any

from PIL import Image

from model_interface.files import File
from model_interface.model_info import WrongModel

PNG = "image/png"
MEDIA_TYPE = re.compile(r"[!-~]+/[ -~]+")


def to_answer(encoded: Any) -> dict[str, Any]:
    """Return what a model's `encode` returned as a dict."""
    name = {list: "images", File: "file"}.get(type(encoded), "image")
    return encoded if isinstance(encoded, dict) else {name: encoded}


def media_type(value: Any) -> str | None:
    """Return the media type of a file or an image, None for any other value."""
    if isinstance(value, File):
        return value.media_type
    return PNG if isinstance(value, Image.Image) else None


def to_file(value: Any) -> File:
    """Return a file as it is, and an image as PNG."""
    if isinstance(value, File):
        return value
    file = io.BytesIO()
    value.save(file, "PNG")
    return File(file.getvalue(), PNG)


def data_uri(value: Any) -> str:
    """Return a file or an image as a data: URI; TypeError for any other value."""
    kind = media_type(value)
    if not kind:
        raise TypeError(f"A value of type {type(value).__name__} is not JSON.")
    if not MEDIA_TYPE.fullmatch(kind):
        raise ValueError('Its media type is not like "audio/wav".')
    file = to_file(value)
    return f"data:{file.media_type};base64,{base64.b64encode(file.data).decode()}"


def check_answer(encoded: Any) -> None:
    """Refuse what `encode` returned unless it can be sent as it is."""
    files = encoded if isinstance(encoded, list) else [encoded]
    is_empty = isinstance(encoded, dict | list) and not encoded
    if is_empty or not (isinstance(encoded, dict) or all(map(media_type, files))):
        what = "an empty" if is_empty else "an object of type"
        what += f" {type(encoded).__name__}"
        rule = "a dict with a value, a PIL image, a File or a list of images and Files"
        raise WrongModel(f"encode returned {what}: it must return {rule}.")
    dump = partial(json.dumps, allow_nan=False, ensure_ascii=False, default=data_uri)
    for name, value in to_answer(encoded).items():
        try:
            dump({name: value}).encode()  # It fails on half of a surrogate pair.
        except Exception as error:  # Pillow has many for what it cannot write.
            kind = type(value).__name__
            problem = f'encode returned "{name}" of type {kind}, which is not JSON'
            raise WrongModel(f"{problem}: {error}") from None


def check_drawing(drawing: Any) -> None:
    """Refuse what `draw` returned unless it is an image or None."""
    if drawing is None:
        return
    if media_type(drawing) != PNG:
        kind = type(drawing).__name__
        raise WrongModel(f"draw returned a {kind}: it must return a PIL image.")
    try:
        to_file(drawing)
    except Exception as error:
        raise WrongModel(f"draw returned an image that is no PNG: {error}.") from None
