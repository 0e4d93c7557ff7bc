"""Whether the answer to an input depends on the other inputs in its batch."""

import io
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from werkzeug.exceptions import HTTPException

from model_interface.answers import to_file
from model_interface.files import Upload
from model_interface.model_info import Model, ModelInfo, WrongModel, predict

log = logging.getLogger("endpoint")


class DependsOnBatch(WrongModel):
    """An answer differs from the one that its input gets alone."""


def check_batches(
    model: Model, input: Any, another: Any, alone: Any, size: int
) -> None:
    """Compare the answers in batches of two and of `size` with those to inputs alone.

    No other order of four such inputs has the same answers.
    """

    def answers(*inputs: Any) -> list[Any]:
        return [model.encode(output) for output in predict(model, list(inputs))]

    batches = [answers(input, another)]
    if size > 2:
        batches += try_batch(answers, [input, another, *[input] * (size - 2)])
    if not is_close(answers(input)[0], alone):
        log.info("The same input has different answers, so batches are not compared.")
        return
    singles = [alone, *answers(another), *[alone] * size]
    try:
        for batch in batches:
            check_batch(batch, singles)
    except DependsOnBatch as problem:
        log.warning("%s", problem)


def try_batch(answers: Callable[..., list[Any]], inputs: list[Any]) -> list[list[Any]]:
    """Return the answers of a larger batch, none if it fails.

    Its requests would be answered all the same, because it would be halved.
    """
    try:
        return [answers(*inputs)]
    except Exception as error:
        log.warning("A batch of %d fails: %s", len(inputs), error)
        answers(inputs[0])  # It raises if the GPU cannot be used any more.
        return []


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


def changed_examples(example: Upload, accepts: str) -> Iterator[Upload]:
    """Yield an image inverted and also narrower, or a text reversed and also longer."""
    if accepts == "text/plain":
        yield replace(example, data=b" ".join(reversed(example.data.split())))
        yield replace(example, data=example.data + b" " + example.data)
    elif accepts.startswith("image/"):
        try:
            image = Image.open(io.BytesIO(example.data)).convert("RGB")
        except OSError:  # a format that Pillow does not know
            return
        inverted = ImageOps.mirror(ImageOps.invert(image))
        narrow = inverted.resize((image.width * 2 // 3 + 1, image.height))
        for changed in (inverted, narrow):
            png = to_file(changed)
            yield replace(example, data=png.data, media_type=png.media_type)


def find_another(model: Model, info: ModelInfo, example: Upload, input: Any) -> Any:
    """Return the last changed example that may share the batch, else the input."""
    another = input
    for upload in changed_examples(example, info.accepts):
        try:
            changed = model.decode(upload)
            if info.batch_key(changed) == info.batch_key(input):
                another = changed
        except HTTPException:
            pass  # It may be refused.
        except Exception as error:
            log.warning("decode fails for the example changed: %r", error)
    return another


def is_close(one: Any, other: Any) -> bool:
    """Compare two answers. Images may differ by one percent, floats also by 0.01.

    Times, in keys that end in _time, may differ by any amount.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            is_close(one[key], other[key])
            for key in one
            if not str(key).endswith("_time")
        )
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
    is_dict = isinstance(answer, dict)
    dump = partial(json.dumps, default=shorten, ensure_ascii=False)
    text = dump(answer) if is_dict else repr(answer)
    return text if len(text) <= 200 else f"{text[:200]}..."
