"""Whether an answer depends on the other inputs, in its batch or later."""

import io
import json
import logging
import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from werkzeug.exceptions import HTTPException

from model_interface.answers import PNG
from model_interface.files import Upload
from model_interface.model_info import Model, ModelInfo, WrongModel, predict

log = logging.getLogger("endpoint")

ATTEMPTS = 5  # A difference has to be there each time: answers may be random.
LARGE_BATCH = 32  # inputs at most
LARGE_BATCH_SECONDS = 0.25  # at most, if each input takes as long as alone
CHANGES = (
    "An answer changes once decode and predict are called for another input: they "
    "must return new objects, and keep nothing of an input in self."
)
MUTATES = "predict changes its inputs, which it gets again if a batch fails."


class Difference(WrongModel):
    """Why an input has different answers; harmless if they are all its own."""

    def __init__(self, problem: str, is_harmless: bool = False) -> None:
        super().__init__(problem)
        self.is_harmless = is_harmless


class Run(NamedTuple):
    """An example, what the methods returned for it, and the seconds of predict."""

    example: Upload
    input: Any
    output: Any
    answer: Any
    seconds: float


def compare_answers(model: Model, info: ModelInfo, run: Run) -> None:
    """Compare an answer with those that the same input gets later and in batches.

    Raise WrongModel for the answer to another input; other differences are a warning.
    """
    another = find_another(model, info, run)
    for attempt in range(1, ATTEMPTS + 1):
        problem = find_difference(model, info, run, another)
        if problem is None:
            return
        if attempt == ATTEMPTS and problem.is_harmless:
            log.warning("%s", problem)
        elif attempt == ATTEMPTS:
            raise problem


def find_difference(
    model: Model, info: ModelInfo, run: Run, another: Upload
) -> Difference | None:
    """Return what another input changes in an answer."""
    other = model.decode(another)
    singles = [run.answer, *get_answers(model, other)]
    if not is_close(model.encode(run.output), run.answer):
        return Difference(CHANGES)
    for answers in run_batches(model, info, run, other):
        problem = check_batch(answers, [*singles, *[run.answer] * LARGE_BATCH])
        if problem and is_close(get_answers(model, run.input)[0], run.answer):
            return problem
        if problem:
            return explain_change(model, run)
    return None


def explain_change(model: Model, run: Run) -> Difference | None:
    """Return why an input has another answer than before, None if it is random."""
    input = model.decode(run.example)
    first, second = get_answers(model, input), get_answers(model, input)
    if not is_close(first[0], run.answer):
        return None
    if is_close(second[0], run.answer):
        return Difference(CHANGES)
    return Difference(MUTATES, is_harmless=True)


def get_answers(model: Model, *inputs: Any) -> list[Any]:
    outputs = predict(model, list(inputs))
    return deepcopy([model.encode(output) for output in outputs])


def run_batches(
    model: Model, info: ModelInfo, run: Run, another: Any
) -> Iterator[list[Any]]:
    """Yield the answers in a batch of two, and in a larger one if that succeeds."""
    if info.max_batch == 1:
        return
    yield get_answers(model, run.input, another)
    affordable = int(LARGE_BATCH_SECONDS / max(run.seconds, 0.001))
    size = min(info.max_batch, LARGE_BATCH, affordable)
    if size < 3:
        return
    try:
        # No other order of four such inputs has the same answers.
        large = get_answers(model, run.input, another, *[run.input] * (size - 2))
    except Exception as error:  # Its requests would be answered in smaller batches.
        log.warning("A batch of %d fails: %s", size, error)
        predict(model, [run.input])  # It raises if the GPU cannot be used any more.
    else:
        yield large


def check_batch(answers: Sequence[Any], singles: Sequence[Any]) -> Difference | None:
    """Compare each answer in a batch with that of its input alone."""
    size = len(answers)
    for position, (answer, alone) in enumerate(zip(answers, singles), start=1):
        if is_close(answer, alone):
            continue
        for other, expected in zip(answers, singles):
            # An answer that is only by chance like another's is not in its place.
            if is_close(answer, expected) and not is_close(other, expected):
                return Difference(
                    "predict returned its outputs in the wrong order: output "
                    f"{position} of {size} belongs to another input."
                )
        return Difference(
            "An answer depends on the other inputs in its batch: "
            f"alone {shorten(alone)}, in a batch of {size} {shorten(answer)}.",
            is_harmless=True,
        )
    return None


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
            file = io.BytesIO()
            changed.save(file, "PNG", compress_level=1)  # The start waits for it.
            yield replace(example, data=file.getvalue(), media_type=PNG)


def find_another(model: Model, info: ModelInfo, run: Run) -> Upload:
    """Return the last changed example that may share the batch, else the example."""
    another = run.example
    for upload in changed_examples(run.example, info.accepts):
        try:
            if info.batch_key(model.decode(upload)) == info.batch_key(run.input):
                another = upload
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
