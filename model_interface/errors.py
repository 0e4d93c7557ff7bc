"""An error of a model file as a sentence."""

import importlib.util
import linecache
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model_interface.model_info import WrongModel

# The function of a model file that has failed, where its name would not be clear.
FUNCTIONS = {"<module>": "Importing", "__init__": "Model(device)"}


class ModelError(Exception):
    """An error of a model file: what failed, at which line, and its reason."""

    def __repr__(self) -> str:
        return str(self)


@contextmanager
def explained(module: str) -> Iterator[None]:
    """Raise a ModelError for an error of a module; it follows the error itself."""
    try:
        yield
    except (WrongModel, ModelError):
        raise
    except Exception as error:
        raise ModelError(describe(error, find_file(module))) from error


def find_file(module: str) -> str:
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(module)
        return (spec and spec.origin) or ""
    return ""


def describe(error: BaseException, file: str, name: str = "") -> str:
    """Return what has failed in a file, at which line, and the error's first line."""
    stack = list(traceback.extract_tb(error.__traceback__))
    if isinstance(error, SyntaxError) and error.filename == file:
        stack = [traceback.FrameSummary(file, error.lineno or 0, "<module>")]
    functions = [frame.name for frame in stack if frame.filename == file]
    called = functions[0] if functions else "The model"
    message = ""
    with suppress(Exception):  # Even this may fail.
        message = str(error).strip().partition("\n")[0]
    reason = f"{type(error).__name__}: {message or 'no message'}"
    name = name or FUNCTIONS.get(called, called)
    return f"{name} fails{line_of(file, stack)}: {reason}"


def line_of(file: str, stack: list[traceback.FrameSummary]) -> str:
    """Return the last line of a file that was running, "" if none was."""
    numbers = [frame.lineno for frame in stack if frame.filename == file]
    if not numbers or numbers[-1] is None:
        return ""
    line = linecache.getline(file, numbers[-1]).strip()
    return f" at line {numbers[-1]} of {Path(file).name}, {line}"
