"""Examples served by gunicorn: how they are asked, and how answers are compared."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.examples import tiny_checkpoints
from tests.support.images import BULLDOG
from tests.support.server import ROOT, SCRIPTS, Server

JSON, PNG = ("-H", "Accept: application/json"), ("-H", "Accept: image/png")
PAGE = ("-H", "Accept: text/html")
ROUNDS = 20  # the most tries until two inputs share a batch
# Several threads, and a GPU, add numbers in an order that changes from run to run.
SINGLE_THREAD = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


class Example(Server):
    """An example served by gunicorn with a model, a folder or a file."""

    def __init__(self, name: str, model: Path, fields: dict[str, str] | None = None):
        self.name, self.model, self.fields = name, model, fields or {}
        variables = {"ENDPOINT_MODULE": f"examples.{name}", "ENDPOINT_MODEL": model}
        super().__init__("gunicorn", OMP_NUM_THREADS=1, **variables)

    def __enter__(self) -> "Example":
        self.wait_for(200)
        return self

    def predict(self, *files: Path, accept=JSON, route: str = "") -> Any:
        """Send files in a form; return the parsed JSON, or the text of the answer."""
        form = [part for file in files for part in ("-F", f"file=@{file}")]
        for name, value in self.fields.items():
            form += ["-F", f"{name}={value}"]
        answer = self.curl(*accept, *form, f"/predict{route}")
        return json.loads(answer) if accept == JSON else answer

    def json(self, *arguments: object) -> Any:
        """Return the parsed JSON that curl gets; the last argument is a path."""
        return json.loads(self.curl(*JSON, *arguments))

    def refusal(self, data: bytes, file: Path, query: str = "") -> str:
        """Return the status with which a file is refused, sent as the body."""
        file.write_bytes(data)
        sent = ("--data-binary", f"@{file}", "-w", "%{http_code}", "-o", "/dev/null")
        return self.curl(*sent, f"/predict{query}")

    def batch_sizes(self) -> tuple[int, int]:
        """Return the number of inputs and of batches so far."""
        metrics = self.curl("/metrics")
        names = ("sum", "count")
        found = (re.search(rf"endpoint_batch_size_{x} (\S+)", metrics) for x in names)
        inputs, batches = (int(float(match[1])) for match in found)
        return inputs, batches


def serve(name: str, folder: Path, **fields: str) -> Example:
    """Serve an example with a tiny checkpoint, which is written to a folder."""
    getattr(tiny_checkpoints, name)(folder)
    return Example(name, folder, fields)


def numbers_and_text(values: Any) -> tuple[str, list[float]]:
    number, text = r"-?\d+(?:\.\d+)?(?:e-\d+)?", json.dumps(values)
    return re.sub(number, "#", text), [float(one) for one in re.findall(number, text)]


def assert_similar(one: Any, other: Any) -> None:
    """Compare answers; their numbers may differ a little between batches."""
    (text, numbers), (expected_text, expected) = map(numbers_and_text, (one, other))
    assert text == expected_text
    assert numbers == pytest.approx(expected, abs=2e-4)


def assert_batch_equals_singles(example: Example, files: list[Path], route="") -> None:
    """Send files from four clients at once until some of them share a batch."""
    singles = [without_time(example.predict(file, route=route)) for file in files]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(ROUNDS):
            for several in pool.map(
                lambda _: example.predict(*files, route=route), range(4)
            ):
                for one, single in zip(several["predictions"], singles, strict=True):
                    assert_similar(without_time(one), single)
            inputs, batches = example.batch_sizes()
            if batches < inputs:
                return
    pytest.fail("no two inputs ever shared a batch")


def without_time(answer: dict) -> dict:
    return {name: answer[name] for name in answer if name != "processing_time"}


def predict_by_command(example: Example, file: Path) -> dict:
    """Return the answer that `flask predict` prints for a file."""
    options = [
        part for name in example.fields for part in (f"--{name}", example.fields[name])
    ]
    command = [SCRIPTS / "flask", "predict", file, "--url", example.url, *options]
    line = subprocess.check_output([*command, "--format", "jsonl"], cwd=ROOT)
    answer = json.loads(line)
    del answer["input"]
    return answer


def assert_is_described(example: Example, file: Path = BULLDOG, field="image") -> None:
    """Check that index, page, OpenAPI and command line know the model's input."""
    model = example.model
    name = model.name if model.is_dir() else str(model)
    assert example.json("/")["model"] == name
    page, openapi = example.curl(*PAGE, "/"), example.curl("/openapi.json")
    assert "<form" in page and name in page
    assert f'"{field}":' in openapi
    answer, expected = predict_by_command(example, file), example.predict(file)
    assert_similar(without_time(answer), without_time(expected))


def assert_log_is_quiet(example: Example) -> None:
    lines = [line for line in example.log.splitlines() if "NO GPU" not in line]
    noise = "(?i)warn|unexpected|missing|error|deprecat"
    assert not re.search(noise, "\n".join(lines))


def run_script(module: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run a script of an example as its users run it."""
    return subprocess.run(
        [sys.executable, "-m", f"examples.{module}", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | SINGLE_THREAD,
        capture_output=True,
        text=True,
    )
