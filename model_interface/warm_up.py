"""Run a model's example through its methods, before the model counts as ready."""

from dataclasses import replace
from typing import Any

from werkzeug.exceptions import HTTPException

from model_interface.answers import check_answer, check_drawing
from model_interface.files import Upload
from model_interface.model_info import Model, ModelInfo, WrongModel, predict


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
