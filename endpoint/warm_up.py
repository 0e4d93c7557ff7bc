"""Run a model's example through its methods, before the model counts as ready."""

import json
from dataclasses import replace
from typing import Any

from werkzeug.exceptions import HTTPException

from endpoint.files import PNG, data_uri, media_type
from endpoint.model_info import Model, ModelInfo, WrongModel, predict
from endpoint.responses import to_answer
from endpoint.uploads import Upload


def warm_up(model: Model, info: ModelInfo, example: Upload) -> Any:
    """Return the output for an example, or raise WrongModel."""
    try:
        input = model.decode(example)
    except HTTPException as refusal:
        problem = f"decode refuses the example of the model: {refusal.description}"
        raise WrongModel(problem) from None
    check_refusal(model, info, example)
    check_key(info.batch_key(input))
    # Twice, because one input alone hides mistakes in the length of a batch.
    output, *_ = predict(model, [input] * min(2, info.max_batch))
    check_answer(model.encode(output))
    check_drawing(info.draw(output) if info.draw else None)
    return output


def check_refusal(model: Model, info: ModelInfo, example: Upload) -> None:
    """Refuse a `decode` that does not raise a 4xx for an invalid file."""
    if not info.accepts.startswith(("image/", "audio/")):
        return  # Any bytes may be valid.
    try:
        model.decode(replace(example, data=b"\x89invalid"))
        problem = "accepts an invalid file"
    except HTTPException:
        return
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


def check_answer(encoded: Any) -> None:
    """Refuse what `encode` returned unless it can be sent as it is."""
    files = encoded if isinstance(encoded, list) else [encoded]
    is_empty = isinstance(encoded, dict | list) and not encoded
    if is_empty or not (isinstance(encoded, dict) or all(map(media_type, files))):
        what = "an empty" if is_empty else "an object of type"
        what += f" {type(encoded).__name__}"
        rule = "a dict with at least one value, a PIL image, a File, or a list of these"
        raise WrongModel(f"encode returned {what}: it must return {rule}.")
    for name, value in to_answer(encoded).items():
        try:
            json.dumps({name: value}, allow_nan=False, default=data_uri)
        except (TypeError, ValueError) as error:
            kind = type(value).__name__
            problem = f'encode returned "{name}" of type {kind}, which is not JSON'
            raise WrongModel(f"{problem}: {error}") from None


def check_drawing(drawing: Any) -> None:
    """Refuse what `draw` returned unless it is an image or None."""
    if drawing is not None and media_type(drawing) != PNG:
        kind = type(drawing).__name__
        raise WrongModel(f"draw returned a {kind}: it must return a PIL image.")
