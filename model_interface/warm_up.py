"""Run a model's examples through its methods, before the model counts as ready."""

import time
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any

from werkzeug.exceptions import HTTPException

from model_interface.answers import check_answer, check_drawing
from model_interface.batch_check import Run, compare_answers, is_close
from model_interface.errors import explained
from model_interface.fields import Values, parse_fields
from model_interface.files import Upload
from model_interface.model_info import Model, ModelInfo, WrongModel, predict


def run_examples(model: Model, info: ModelInfo) -> Any:
    """Run all examples, and the first for each route; return the output for it."""
    output = None
    with explained(type(model).__module__):
        for example in reversed(info.example):
            output = warm_up(model, info, example)
        for route in info.routes if info.example else ():
            check_route(model, info, info.example[0], route)
    return output


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
    run = run_input(model, info, example, input)
    check_drawing(info.draw(run.output) if info.draw else None)
    # An `encode` that adds the time, or something random, has no equal answers.
    if is_close(encode_again(model, run.output), run.answer):
        compare_answers(model, info, run)
    return run.output


def run_input(model: Model, info: ModelInfo, example: Upload, input: Any) -> Run:
    """Call the methods for the input of an example, and check what they return."""
    check_key(info.batch_key(input))
    started = time.monotonic()
    [output] = predict(model, [input])
    seconds = time.monotonic() - started
    answer = deepcopy(model.encode(output))
    check_answer(answer)
    return Run(example, input, output, answer, seconds)


def check_route(model: Model, info: ModelInfo, example: Upload, route: str) -> None:
    """Run the example for a route, unless it needs a field or other files."""
    with suppress(HTTPException):
        own, fields = example.fields, info.fields_of(route)
        own = own if isinstance(own, fields) else parse_fields(fields, Values())
        upload = replace(example, route=route, fields=own)
        run_input(model, info, upload, model.decode(upload))


def encode_again(model: Model, output: Any) -> Any:
    """Encode an output that `encode` had before, as ENDPOINT_CACHE does."""
    try:
        return model.encode(output)
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
        is_usable = bool(key == key)  # False for NaN; a tensor may raise anything.
    except Exception:
        is_usable = False
    if not is_usable:
        rule = "it must return a number, a text or a tuple of these."
        raise WrongModel(f"batch_key returned a {type(key).__name__}: {rule}")
