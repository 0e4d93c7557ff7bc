"""Whether the answer to an input depends on the other inputs in its batch."""

import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from model_interface.model_info import WrongModel


class DependsOnBatch(WrongModel):
    """An answer differs from the one that its input gets alone."""


def check_batch(answers: Sequence[Any], singles: Sequence[Any]) -> None:
    """Raise WrongModel unless each answer in a batch is that of its input alone."""
    size = len(answers)
    for position, (answer, alone) in enumerate(zip(answers, singles), start=1):
        if is_close(answer, alone):
            continue
        for other, expected in zip(answers, singles):
            # An answer that is only by chance like another's is not in its place.
            if is_close(answer, expected) and not is_close(other, expected):
                raise WrongModel(
                    "predict returned its outputs in the wrong order: output "
                    f"{position} of {size} belongs to another input."
                )
        raise DependsOnBatch(
            "An answer depends on the other inputs in its batch: "
            f"alone {shorten(alone)}, in a batch of {size} {shorten(answer)}."
        )


def changes(data: bytes, accepts: str) -> Iterator[bytes]:
    """Yield an image inverted and also narrower, or a text reordered and longer."""
    if accepts == "text/plain":
        yield b" ".join(reversed(data.split()))
        yield data + b" " + data
    elif accepts.startswith("image/"):
        try:
            image = Image.open(io.BytesIO(data)).convert("RGB")
        except OSError:  # a format that Pillow does not know
            return
        inverted = ImageOps.mirror(ImageOps.invert(image))
        narrow = inverted.resize((image.width * 2 // 3 + 1, image.height))
        for changed in (inverted, narrow):
            file = io.BytesIO()
            changed.save(file, "PNG")
            yield file.getvalue()


def is_close(one: Any, other: Any) -> bool:
    """Compare two answers; floats and images may differ by one percent.

    Times, in keys that end in _time, may differ by any amount.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in one if not name.endswith("_time")]
        values = (is_close(one[name], other.get(name)) for name in names)
        return one.keys() == other.keys() and all(values)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0.01, abs_tol=0.01)
    if isinstance(one, Image.Image) and isinstance(other, Image.Image):
        if (one.mode, one.size) != (other.mode, other.size):
            return False
        levels, others = np.asarray(one, float), np.asarray(other, float)
        return bool(np.abs(levels - others).mean() <= 0.01 * max(levels.max(), 1))
    return bool(one == other)


def shorten(answer: Any) -> str:
    """Show an answer in at most about 200 characters."""
    if isinstance(answer, Image.Image):
        return f"an image of {answer.width} x {answer.height}"
    text = (
        json.dumps(answer, default=shorten)
        if isinstance(answer, dict)
        else repr(answer)
    )
    return text if len(text) < 200 else f"{text[:200]}..."
