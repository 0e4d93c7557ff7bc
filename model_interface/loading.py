"""A model file to a loaded model."""

import importlib
import logging
from difflib import get_close_matches
from inspect import isfunction
from typing import Any

from model_interface.errors import explained
from model_interface.model_info import Model, ModelInfo, refuse

log = logging.getLogger("endpoint")
METHODS = {"decode": "upload", "predict": "inputs", "encode": "output"}


def check_class(model_class: type) -> None:
    """Refuse a class without a method, or with an attribute that is misspelt."""
    for method, argument in METHODS.items():
        if not callable(getattr(model_class, method, None)):
            refuse(f"there is no method {method}(self, {argument}).")
    names = {name.lower(): name for name in ModelInfo.model_fields if len(name) > 4}
    del names["device"]  # The server sets it.
    names["max_batch_size"] = "max_batch"
    for own, value in vars(model_class).items():
        close = get_close_matches(own.lower(), names, n=1, cutoff=0.85)
        name = names[close[0]] if close else own
        # A helper like _fields, MyFields or route(self) is no misspelt attribute.
        is_helper = own.endswith(name) or own.startswith("_")
        is_helper |= isfunction(value) and name != "batch_key"
        if not is_helper:
            refuse(f"{own} is not an attribute of this endpoint: is it {name}?")


def import_class(module: str) -> Any:
    """Return the class Model of a module; SystemExit if there is none."""
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # an error in the file itself
        raise SystemExit(f"ENDPOINT_MODULE is {module}: {error}.") from None
    if not hasattr(imported, "Model"):
        raise SystemExit(f"ENDPOINT_MODULE is {module}: it has no class Model.")
    return imported.Model


def load_model(module: str, device: str) -> tuple[Model, ModelInfo]:
    """Load the class Model of a module onto a device.

    Raise SystemExit or ModelError with a sentence if the file cannot be used.
    """
    with explained(module):
        model_class = import_class(module)
        check_class(model_class)
        model = model_class(device)
        info = ModelInfo.of(model, module, device)
    log.info("Serving %s on %s.", info.version, device)
    return model, info
