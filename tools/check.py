"""`flask check`: a model file to its measurements, or to what is wrong with it."""

import ast
import importlib
import importlib.util
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from werkzeug.exceptions import HTTPException

from endpoint.device import find_device
from endpoint.settings import read_settings
from model_interface.answers import check_answer, check_drawing
from model_interface.batch_check import check_batch, is_close, shorten
from model_interface.errors import ModelError, describe, line_of
from model_interface.files import Upload
from model_interface.loading import check_class, load_model
from model_interface.model_info import Model, ModelInfo, WrongModel, predict
from model_interface.warm_up import check_key, run_examples
from tools.check_inputs import DEFAULTS, Variant, find_variants

STEP_TIMEOUT = 300.0  # seconds
LOAD_TIMEOUT = 3600.0  # A slow network may have to bring a gigabyte of weights.
MAX_IMPORT_SECONDS = 1.0  # of the file itself, without the modules that it imports


class Problem(Exception):
    """What is wrong with a model file, in a sentence."""


@click.command()
@click.argument("module", required=False)
def check(module: str | None) -> None:
    """Run a model file on its example and report what is wrong with it.

    MODULE is a Python module or the path of its file. Default: ENDPOINT_MODULE.
    """
    module = module or read_settings().module
    if module.endswith(".py"):
        module = os.path.relpath(module).removesuffix(".py").replace("/", ".")
    try:
        for line in check_module(module):
            click.echo(line)
    except (Problem, WrongModel) as problem:
        raise click.ClickException(str(problem)) from None
    click.echo("All is well.")


def check_module(module: str) -> Iterator[str]:
    """Yield what each step measures, or raise Problem."""
    file = find_file(module)
    yield import_module(module, file)
    step, load = Step(file), Step(file, LOAD_TIMEOUT)
    device, _ = step("Finding a device", find_device, read_settings().device)
    (model, info), seconds = load("Model(device)", load_model, module, device)
    yield f"load     {seconds:.1f} s on {info.device}"
    yield from ModelChecks(step, model, info).run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    yield f"memory   {peak:,.0f} MB at its peak"
    if str(info.device).startswith("cuda") and "torch" in sys.modules:
        peak = sys.modules["torch"].cuda.max_memory_reserved() / 1e6
        yield f"         {peak:,.0f} MB on the GPU"


def find_file(module: str) -> str:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError as error:
        if not module.startswith(f"{error.name}."):
            raise Problem(f"Importing {module} fails: {error}.") from None
        spec = None
    except (ImportError, ValueError):  # a file outside of this folder
        spec = None
    if spec is None or spec.origin is None:
        raise Problem(f"There is no module {module}.")
    return spec.origin


def import_module(module: str, file: str) -> str:
    """Import a model file and check its class; return how long the import took."""
    step = Step(file)
    _, dependencies = step("Importing", import_dependencies, module, Path(file))
    imported, own = step("Importing", importlib.import_module, module)
    if own > MAX_IMPORT_SECONDS:
        raise Problem(
            f"Importing the file takes {own:.1f} s without the modules that it "
            "imports: move what it loads to __init__."
        )
    model_class = getattr(imported, "Model", None)
    if model_class is None:
        raise Problem(f"{file} has no class Model.")
    step("Checking", check_class, model_class)
    return f"import   {dependencies + own:.1f} s, {own:.1f} s of it in the file itself"


def import_dependencies(module: str, file: Path) -> None:
    """Import what a file imports, so that the file's own time can be measured."""
    package = module.rpartition(".")[0]
    for node in ast.parse(file.read_bytes(), str(file)).body:
        # What fails here fails again when the file is imported, with its line.
        with suppress(Exception):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                name = "." * node.level + (node.module or "")
                source = importlib.import_module(name, package)
                for alias in node.names:  # transformers imports on access.
                    getattr(source, alias.name, None)


class Step:
    """Run one step in a thread and measure it; a failure becomes a Problem.

    The Problem names the last line of the model file that was running.
    """

    def __init__(self, file: str, timeout: float = 0) -> None:
        self.file, self.timeout = file, timeout or STEP_TIMEOUT

    def __call__(
        self, name: str, function: Callable[..., Any], *arguments: Any
    ) -> tuple[Any, float]:
        """Return what the function returns and its seconds."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # SystemExit as well
                future.set_exception(error)

        thread, started = threading.Thread(target=run, daemon=True), time.monotonic()
        thread.start()
        thread.join(self.timeout)
        if not future.done():
            stack = traceback.extract_stack(sys._current_frames()[thread.ident or 0])
            line = line_of(self.file, stack)
            raise Problem(f"{name} takes over {self.timeout:g} s{line}.")
        if error := future.exception():
            raise self._problem(name, error)
        return future.result(), time.monotonic() - started

    def _problem(self, name: str, error: BaseException) -> Problem:
        if isinstance(error, WrongModel | ModelError):
            return Problem(str(error))
        if isinstance(error, SystemExit):
            is_sentence = str(error).startswith("In the class Model, ")
            return Problem(
                f"{'' if is_sentence else f'{name} ends the process: '}{error}"
            )
        return Problem(describe(error, self.file, name))


class ModelChecks:
    """Run a loaded model on variants of its example, alone and in batches."""

    def __init__(self, step: Step, model: Model, info: ModelInfo) -> None:
        self.step, self.model, self.info = step, model, info
        self.decode_ms = 0.0

    def run(self) -> Iterator[str]:
        """Yield what each step measures, or raise Problem."""
        variants = self.variants()
        decoded = [self.decode(variant) for variant in variants]
        yield f"decode   {self.decode_ms:.1f} ms"
        groups: dict[Any, list[Any]] = {}  # inputs that may share a batch
        for input in decoded:
            if not isinstance(input, HTTPException):
                groups.setdefault(self.batch_key(input), []).append(input)
        is_checked = False
        for number, inputs in enumerate(groups.values()):
            singles = [self.answers([value])[0][0] for value in inputs]
            lines = [f"encode   {shorten(singles[0])}"]
            lines += self.check_batches(inputs, singles)
            yield from [] if number else lines
            is_checked |= not all(is_close(singles[0], each) for each in singles)
        examples = self.info.example or [variants[0].upload]
        info = self.info.model_copy(update={"example": examples})
        self.step("The start", run_examples, self.model, info)
        if not is_checked:
            yield "order    not checked: all inputs of a batch have the same answer"

    def variants(self) -> list[Variant]:
        info, problem = self.info, ""
        if not info.example and info.accepts not in DEFAULTS:
            problem = f"A model that accepts {info.accepts} needs an example."
        fields = info.Fields.model_fields.values()
        if not info.example and any(field.is_required() for field in fields):
            problem = "A model with a field that must be sent needs an example."
        if problem:
            raise Problem(problem)
        return self.step("Checking the fields", lambda: list(find_variants(info)))[0]

    def decode(self, variant: Variant) -> Any:
        """Return the input of a variant, or the 4xx with which it may be refused."""
        result, seconds = self.step("decode", catch_refusal, self.model, variant.upload)
        if isinstance(result, HTTPException):
            if variant.may_be_refused:
                return result
            detail = result.description
            raise Problem(f"decode refuses {variant.name} of the model: {detail}")
        self.decode_ms = 1000 * seconds
        return result

    def batch_key(self, input: Any) -> Any:
        key, _ = self.step("batch_key", self.info.batch_key, input)
        check_key(key)
        return key

    def answers(self, inputs: list[Any]) -> tuple[list[Any], float]:
        """Return the answers of a batch and the seconds that predict took."""
        outputs, seconds = self.step("predict", predict, self.model, inputs)
        answers = [self.step("encode", self.model.encode, each)[0] for each in outputs]
        for answer in answers:
            check_answer(answer)
        if self.info.draw:
            drawing, _ = self.step("draw", self.info.draw, outputs[0])
            check_drawing(drawing)
        return answers, seconds

    def check_batches(self, inputs: list[Any], singles: list[Any]) -> Iterator[str]:
        """Check that each answer in a batch is the same as alone; yield the times."""
        limit, is_random = self.info.max_batch, False
        for size in sorted({1, min(2, limit), min(len(inputs), limit), limit}):
            order = [index % len(inputs) for index in range(size)]
            answers, seconds = self.answers([inputs[index] for index in order])
            expected = [singles[index] for index in order]
            is_random |= size == 1 and not is_close(answers[0], expected[0])
            problem = None if is_random else check_batch(answers, expected)
            if problem:
                raise problem
            each = f", {1000 * seconds / size:.1f} ms each" if size > 1 else ""
            yield f"predict  {1000 * seconds:.1f} ms for {size}{each}"
        if is_random:
            yield "order    not checked: the same input has different answers. If that"
            yield "         is a surprise, call eval() and leave the inputs unchanged."


def catch_refusal(model: Model, upload: Upload) -> Any:
    """Return the input of an upload, or the 4xx with which it is refused."""
    try:
        return model.decode(upload)
    except HTTPException as refusal:
        return refusal
