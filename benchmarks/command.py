"""A folder of images to the throughput of `flask predict` and of the model alone.

`python -m benchmarks.command --checkpoint FOLDER` measures both with the same drawn
JPEG files, in turn and each in its own process, with three models: one that sleeps as
long as a GPU would compute, the bundled model and the checkpoint. The model alone gets
decoded inputs in full batches. The time of the start does not count.
"""

import argparse
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from benchmarks import machine
from benchmarks.measurements import RESULTS, median, write
from demo.scenes import draw, sample
from endpoint.device import find_device
from model_interface.files import Upload
from tests.stress.process import resident_mb

SIZE = 448, 320  # pixels of an image
SLEEPING, OURS = "benchmarks.sleeping_model", "endpoint.model"


def main() -> None:
    options = parse()
    if options.loop:
        return print(measure_loop(options.loop))
    measure(options)
    print(f"Wrote {options.output}.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="also measure this one")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "command.json")
    parser.add_argument("--loop", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(options: argparse.Namespace) -> None:
    """Measure all rounds; the output is written after each model."""
    results = {
        "kind": "command",
        "settings": {"images": options.images, "rounds": options.rounds},
        "machine": machine.describe(),
    }
    models = {"sleeping": (SLEEPING, "demo"), "bundled": (OURS, "demo")}
    if options.checkpoint:
        models["checkpoint"] = (OURS, str(options.checkpoint.absolute()))
    with TemporaryDirectory() as temporary:
        folder, output = Path(temporary, "images"), Path(temporary, "answers.jsonl")
        draw_images(folder, options.images)
        rounds: list[dict] = []
        for _ in range(options.rounds):
            rounds.append({})
            for name, model in models.items():
                rounds[-1][name] = measure_round(*model, folder, output)
                print(name, rounds[-1][name], flush=True)
                write(
                    results | {"rounds": rounds, "median": median(rounds)},
                    options.output,
                )


def draw_images(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        random = Random(f"picture {number}")
        image = draw(sample(random), random, SIZE)
        image.save(folder / f"{number:05}.jpg", quality=90)


def measure_round(module: str, weights: str, folder: Path, output: Path) -> dict:
    """Return the throughput of both, their ratio and the command's memory."""
    environment = os.environ | {"ENDPOINT_MODEL": weights, "ENDPOINT_MODULE": module}
    environment.setdefault("GOMP_SPINCOUNT", "2000")  # as flask predict sets it
    python = [sys.executable, "-m"]
    loop = float(
        subprocess.check_output(
            [*python, "benchmarks.command", "--loop", folder],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
    )
    command = [*python, "flask", "predict", folder, "--output", output]
    count = len(list(folder.iterdir()))
    found = watch_command(command, environment, output, count)
    output.unlink()
    return {"loop": loop, "share": found["command"] / loop} | found


def measure_loop(folder: Path) -> float:
    """Return the inputs per second of the model's predict, in full batches."""
    module = importlib.import_module(os.environ["ENDPOINT_MODULE"])
    model = module.Model(find_device())
    uploads = (Upload(file.read_bytes()) for file in sorted(folder.iterdir()))
    images, max_batch = [model.decode(upload) for upload in uploads], model.max_batch
    model.predict(images[:max_batch])
    started = time.monotonic()
    for start in range(0, len(images), max_batch):
        model.predict(images[start : start + max_batch])
    return len(images) / (time.monotonic() - started)


def watch_command(command: list, environment: dict, output: Path, count: int) -> dict:
    """Return the answers per second after the first tenth, and the memory in MB."""
    times, memory = {}, {}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        done = output.read_bytes().count(b"\n") if output.exists() else 0
        times.setdefault(done, time.monotonic())
        memory.setdefault(done, resident_mb(process.pid))
        time.sleep(0.005)
    if process.returncode:
        raise SystemExit(f"flask predict ended with status {process.returncode}.")
    tenth, quarter, last = (
        min(done for done in times if done >= count * share)
        for share in (0.1, 0.25, 0.9)
    )
    return {
        "command": (last - tenth) / (times[last] - times[tenth]),
        "early_mb": memory[quarter],
        "late_mb": memory[last],
    }


if __name__ == "__main__":
    main()
