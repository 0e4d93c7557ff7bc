"""`flask check`: a model file tried out, and in a sentence what is wrong with it."""

import ast
import contextlib
import importlib.util
import io
import json
import linecache
import math
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageOps
from werkzeug.exceptions import HTTPException

from endpoint import device
from endpoint.uploads import Upload

LIMIT = 300.0  # seconds for any step
SLOW = 1.0  # seconds at the top level of the file, its imports not counted
METHODS = {"decode": "upload", "predict": "inputs", "encode": "output"}
PICTURE = Path(__file__).parent.parent / "french_bulldog.jpg"
JUNK = Upload(b"\x89junk")


class Problem(Exception):
    """What is wrong, in a sentence."""


@click.command()
@click.argument("module", envvar="ENDPOINT_APP", default="endpoint.model")
def check(module: str) -> None:
    """Load a model file, run its example and say what is wrong with it."""
    try:
        for finding in findings(module.removesuffix(".py").replace("/", ".")):
            click.echo(finding)
    except Problem as problem:
        raise click.ClickException(f"{problem}") from None
    click.echo("All is well.")


def findings(module: str) -> Iterator[str]:
    """Yield what each step shows, or raise Problem."""
    spec = None
    with contextlib.suppress(ModuleNotFoundError):  # of a package that it is in
        spec = importlib.util.find_spec(module)
    if not spec or not spec.origin:
        raise Problem(f"There is no module {module}.")
    where, file = device.find(os.environ.get("ENDPOINT_DEVICE")), spec.origin
    _, libraries = step(file, "Importing", import_libraries, module, Path(file))
    loaded, own = step(file, "Importing", importlib.import_module, module)
    yield f"import   {libraries + own:.1f} s, {own:.1f} s of it in the file itself"
    if own > SLOW:
        raise Problem(
            f"Importing it takes {own:.1f} s: load in __init__ what it loads."
        )
    kind = getattr(loaded, "Model", None)
    if kind is None:
        raise Problem(f"{file} has no class Model.")
    for name, argument in METHODS.items():
        if not callable(getattr(kind, name, None)):
            raise Problem(f"The class Model has no method {name}(self, {argument}).")
    model, seconds = step(file, "Model(device)", kind, where)
    yield f"load     {seconds:.1f} s on {where}"
    yield from Trial(file, model).findings()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    yield f"memory   {peak:,.0f} MB at most"
    if where.startswith("cuda") and "torch" in sys.modules:
        on_gpu = sys.modules["torch"].cuda.max_memory_reserved() / 1e6
        yield f"         {on_gpu:,.0f} MB on the GPU"


class Trial:
    """A loaded model and two inputs that should get two answers."""

    def __init__(self, file: str, model: Any) -> None:
        self.file, self.model = file, model
        self.most = getattr(model, "max_batch", 32)

    def findings(self) -> Iterator[str]:
        uploads = self.uploads()
        decoded = [self.step("decode", upload) for upload in uploads]
        yield f"decode   {1000 * decoded[-1][1]:.1f} ms"
        self.refuse_junk()
        pair = [value for value, _ in decoded]
        key = getattr(self.model, "batch_key", lambda _: None)
        apart = key(pair[0]) != key(pair[1])
        if apart:
            pair = pair[:1] * 2
        singles = [self.answers([value])[0][0] for value in pair]
        yield f"encode   {shown(singles[0])}"
        for size in sorted({1, min(2, self.most), self.most}):
            batch = [number % 2 for number in range(size)]
            answers, seconds = self.answers([pair[number] for number in batch])
            self.compare(answers, [singles[number] for number in batch], singles)
            each = f", {1000 * seconds / size:.1f} ms each" if size > 1 else ""
            yield f"predict  {1000 * seconds:.1f} ms for {size}{each}"
        if apart:
            yield "order    not known: the example changed never shares a batch with it"
        elif same(*singles):
            yield "order    not known: the example changed has the same answer"

    def step(self, name: str, value: Any) -> tuple[Any, float]:
        return step(self.file, name, getattr(self.model, name), value)

    def uploads(self) -> list[Upload]:
        """Return the model's example, or ours, and one that differs from it."""
        accepts = getattr(self.model, "accepts", "image/*")
        ours = {
            "image/*": PICTURE.read_bytes(),
            "text/plain": b"What a fine day it is.",
        }
        example = getattr(self.model, "example", None)
        if example is None and accepts not in ours:
            raise Problem(
                "Set self.example to an Upload, to try the model with."
            )
        example = example or Upload(ours[accepts], accepts)
        return [example, replace(example, data=changed(example.data, accepts))]

    def refuse_junk(self) -> None:
        """See that a broken file gets an error that its sender understands."""
        if getattr(self.model, "accepts", "image/*") == "text/plain":
            return
        try:
            self.model.decode(replace(self.uploads()[0], data=JUNK.data))
        except HTTPException:
            return
        except Exception as error:
            raise Problem(
                f"decode fails with {type(error).__name__} on a file that is none: "
                "begin it with a function of endpoint.uploads, which refuses that."
            ) from None
        raise Problem("decode takes a file that is none: it should raise a 4xx.")

    def answers(self, values: list[Any]) -> tuple[list[Any], float]:
        """Return what predict and encode make of the inputs, and predict's time."""
        outputs, seconds = self.step("predict", values)
        sent, one_each = len(values), "it must return a list of one output for each."
        kind = type(outputs).__name__
        if isinstance(outputs, str | bytes | dict) or not hasattr(outputs, "__len__"):
            raise Problem(f"predict returned a {kind} for {sent} inputs: {one_each}")
        if len(outputs) != sent:
            got = len(outputs)
            raise Problem(
                f"predict returned {got} outputs for {sent} inputs: {one_each}"
            )
        answers = [self.step("encode", output)[0] for output in outputs]
        for answer in answers:
            check_answer(answer)
        return answers, seconds

    def compare(self, answers: list[Any], expected: list[Any], singles: list) -> None:
        """See that neighbours in a batch change no answer, nor its place."""
        for number, (answer, alone) in enumerate(zip(answers, expected)):
            if same(answer, alone):
                continue
            if any(same(answer, other) for other in singles):
                raise Problem(
                    f"predict returned its outputs in the wrong order: number "
                    f"{number + 1} of {len(answers)} belongs to another input."
                )
            raise Problem(
                f"An answer depends on its neighbours: alone {shown(alone)}, "
                f"in a batch of {len(answers)} {shown(answer)}."
            )


def step(file: str, what: str, call: Callable, *arguments: Any) -> tuple[Any, float]:
    """Return what a call returns and its seconds; Problem names the file's own line."""
    value, error, started = None, None, time.monotonic()

    def run() -> None:
        nonlocal value, error
        try:
            value = call(*arguments)
        except BaseException as raised:  # SystemExit carries a sentence, too.
            error = raised

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT)
    if thread.is_alive():
        stack = traceback.extract_stack(sys._current_frames()[thread.ident])
        raise Problem(f"{what} takes over {LIMIT:g} s{line_in(file, stack)}.")
    if isinstance(error, SystemExit):
        raise Problem(f"{what} ends the process: {error}")
    if error is not None:
        stack = traceback.extract_tb(error.__traceback__)
        if isinstance(error, SyntaxError) and error.filename == file:
            stack = [traceback.FrameSummary(file, error.lineno, "")]
        told = str(error).partition("\n")[0] or "no more is told"
        fault = f"{type(error).__name__}: {told}"
        raise Problem(f"{what} fails{line_in(file, stack)}: {fault}")
    return value, time.monotonic() - started


def line_in(file: str, stack: list[traceback.FrameSummary]) -> str:
    """Name the last line of the file that a stack went through."""
    lines = [frame.lineno for frame in stack if frame.filename == file]
    if not lines:
        return ""
    line = linecache.getline(file, lines[-1]).strip()
    return f" at line {lines[-1]} of {Path(file).name}, {line}"


def import_libraries(module: str, file: Path) -> None:
    """Import what a file imports, to tell its own time from theirs."""
    package = {"__name__": module, "__package__": module.rpartition(".")[0]}
    for node in ast.parse(file.read_text(), file).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            with contextlib.suppress(ImportError):  # The file itself tells it better.
                exec(compile(ast.Module([node], []), file, "exec"), package)


def changed(data: bytes, accepts: str) -> bytes:
    """Return a picture narrower, mirrored and negative, a text's words reversed."""
    if accepts == "text/plain":
        return b" ".join(reversed(data.split()))
    if not accepts.startswith("image/"):
        return data
    picture, file = Image.open(io.BytesIO(data)).convert("RGB"), io.BytesIO()
    narrow = picture.resize((picture.width * 2 // 3 + 1, picture.height))
    ImageOps.mirror(ImageOps.invert(narrow)).save(file, "PNG")
    return file.getvalue()


def check_answer(answer: Any) -> None:
    """See that an answer can be sent: as JSON, or as a picture."""
    if isinstance(answer, Image.Image):
        return
    if not isinstance(answer, dict) or not answer:
        kind = "an empty dict" if answer == {} else f"a {type(answer).__name__}"
        raise Problem(
            f"encode returned {kind}: return a dict of values, or a PIL image."
        )
    for name, value in answer.items():
        try:
            json.dumps({name: value}, allow_nan=False)
        except (TypeError, ValueError) as error:
            kind = type(value).__name__
            raise Problem(
                f'encode\'s "{name}", a {kind}, is no JSON: {error}.'
            ) from None


def same(one: Any, other: Any) -> bool:
    """Compare answers; numbers that rounding may move, within a hundredth."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in one if not name.endswith("_time")]  # that it took
        alike = (same(one[name], other.get(name)) for name in names)
        return one.keys() == other.keys() and all(alike)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0.01, abs_tol=0.01)
    if isinstance(one, Image.Image) and isinstance(other, Image.Image):
        if (one.mode, one.size) != (other.mode, other.size):
            return False
        levels, others = np.asarray(one, float), np.asarray(other, float)
        return np.abs(levels - others).mean() <= 0.01 * max(levels.max(), 1)
    return one == other


def shown(answer: Any) -> str:
    if isinstance(answer, Image.Image):
        return f"a picture of {answer.width} x {answer.height}"
    text = json.dumps(answer) if isinstance(answer, dict) else repr(answer)
    return text if len(text) < 200 else f"{text[:200]}..."


if __name__ == "__main__":
    check()
