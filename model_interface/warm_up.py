"""Run a model's example through its methods, before the model counts as ready."""

import logging
import time
from collections.abc import Callable
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
    check_again(model, output)
    if info.max_batch > 1:
        another = find_another(model, info, example, input)
        affordable = int(LARGE_BATCH_SECONDS / max(seconds, 0.001))
        size = min(info.max_batch, LARGE_BATCH, affordable)
        check_batches(model, input, another, answer, size)
    return output


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


def check_batches(
    model: Model, input: Any, another: Any, alone: Any, size: int
) -> None:
    """Compare the answers in batches of two and of `size` with those to inputs alone.

    Of four inputs, no other order has the same answers.
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


def check_again(model: Model, output: Any) -> None:
    """Refuse an `encode` that fails for an output that it had before."""
    try:
        model.encode(output)  # as with ENDPOINT_CACHE
    except Exception as error:
        problem = f"encode fails when it gets the same output again: {error!r}"
        raise WrongModel(problem) from None


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
