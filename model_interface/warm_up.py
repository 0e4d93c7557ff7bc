"""Run a model's example through its methods, before the model counts as ready."""

import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

from werkzeug.exceptions import HTTPException

from model_interface.answers import check_answer, check_drawing
from model_interface.batch_check import (
    DependsOnBatch,
    changed_examples,
    check_batch,
    is_close,
)
from model_interface.files import Upload
from model_interface.model_info import Model, ModelInfo, WrongModel, predict

log = logging.getLogger("endpoint")

LARGE_BATCH = 32  # inputs at most
LARGE_BATCH_SECONDS = 0.25  # at most, if each input takes as long as alone


def warm_up(model: Model, info: ModelInfo, example: Upload) -> Any:
    """Return the output for an example, or raise WrongModel.

    A mistake that lets every request have its answer is only a warning in the log.
    """
    try:
        input = model.decode(example)
    except HTTPException as refusal:
        problem = f"decode refuses the example of the model: {refusal.description}"
        raise WrongModel(problem) from None
    check_refusal(model, info, example)
    check_key(info.batch_key(input))
    started = time.monotonic()
    [output] = predict(model, [input])
    seconds = time.monotonic() - started
    answer = model.encode(output)
    check_answer(answer)
    check_drawing(info.draw(output) if info.draw else None)
    if info.max_batch > 1:
        check_pair(model, input, find_another(model, info, example, input), answer)
        affordable = int(LARGE_BATCH_SECONDS / max(seconds, 0.001))
        try_batch(model, [input] * min(info.max_batch, LARGE_BATCH, affordable))
    return output


def find_another(model: Model, info: ModelInfo, example: Upload, input: Any) -> Any:
    """Return the last changed example that may share the batch, else the input."""
    another = input
    for upload in changed_examples(example, info.accepts):
        with suppress(Exception):  # `flask check` says what cannot be decoded.
            changed = model.decode(upload)
            if info.batch_key(changed) == info.batch_key(input):
                another = changed
    return another


def check_pair(model: Model, input: Any, another: Any, alone: Any) -> None:
    """Compare the answers to two inputs in a batch with those that they get alone."""

    def answers(*inputs: Any) -> list[Any]:
        return [model.encode(output) for output in predict(model, list(inputs))]

    pair, singles = answers(input, another), [alone, *answers(another)]
    if all(map(is_close, pair, singles)) or not is_close(answers(input)[0], alone):
        return  # In the second case, the model answers at random.
    try:
        check_batch(pair, singles)
    except DependsOnBatch as problem:
        log.warning("%s", problem)


def try_batch(model: Model, inputs: list[Any]) -> None:
    """Warn if a larger batch fails: it would be halved, and all requests answered."""
    if len(inputs) < 3:
        return
    try:
        predict(model, inputs)
    except Exception as error:
        log.warning("A batch of %d fails: %s", len(inputs), error)
        predict(model, inputs[:1])  # It raises if the GPU cannot be used any more.


def check_refusal(model: Model, info: ModelInfo, example: Upload) -> None:
    """Refuse a `decode` that does not raise a 4xx for an invalid file."""
    if not info.accepts.startswith(("image/", "audio/")):
        return  # Any bytes may be valid.
    try:
        model.decode(replace(example, data=b"\x89invalid"))
        problem = "accepts an invalid file"
    except HTTPException as refusal:
        if refusal.code and refusal.code < 500:
            return
        problem = f"answers an invalid file with {refusal.code}"
    except Exception as error:
        problem = f"fails with {type(error).__name__} for an invalid file"
    advice = "start it with a decode function of model_helpers, which raises a 4xx."
    raise WrongModel(f"decode {problem}: {advice}")


def check_key(key: Any) -> None:
    """Refuse what `batch_key` returned unless it can be compared."""
    try:
        hash(key)
    except TypeError:
        rule = "it must return a number, a text or a tuple of these."
        problem = f"batch_key returned a {type(key).__name__}: {rule}"
        raise WrongModel(problem) from None
