"""`flask predict` beside the model's own loop: what is read, decoded and written costs.

`python -m benchmarks.command --checkpoint FOLDER` times both on the same drawn JPEGs,
in turns and in processes of their own, with three models: one that sleeps as long as a
GPU would compute, the bundled one, the checkpoint. The loop has its inputs decoded and
runs them in full batches; neither counts the start.
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
from benchmarks.run import RESULTS, median, write
from demo.scenes import draw, sample
from endpoint import device
from endpoint.uploads import Upload

SIZE = 448, 320  # pixels of a picture
ASLEEP, OURS = "benchmarks.asleep", "endpoint.model"


def main() -> None:
    options = parse()
    if options.loop:
        return print(loop(options.loop))
    write(measure(options), options.output)
    print(f"Wrote {options.output}.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="measured, too")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "command.json")
    parser.add_argument("--loop", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict:
    models = {"asleep": (ASLEEP, "demo"), "bundled": (OURS, "demo")}
    if options.checkpoint:
        models["checkpoint"] = (OURS, str(options.checkpoint.absolute()))
    with TemporaryDirectory() as place:
        folder, output = Path(place, "pictures"), Path(place, "answers.jsonl")
        draw_pictures(folder, options.pictures)
        rounds = [
            {name: one_round(*model, folder, output) for name, model in models.items()}
            for _ in range(options.rounds)
        ]
    for name, each in (figures := median(rounds)).items():
        print(name, ", ".join(f"{key} {value:.2f}" for key, value in each.items()))
    return {
        "kind": "command",
        "settings": {"pictures": options.pictures, "rounds": options.rounds},
        "machine": machine.describe(),
        "rounds": rounds,
        "median": figures,
    }


def draw_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        random = Random(f"picture {number}")
        picture = draw(sample(random), random, SIZE)
        picture.save(folder / f"{number:05}.jpg", quality=90)


def one_round(module: str, weights: str, folder: Path, output: Path) -> dict:
    environment = os.environ | {"ENDPOINT_MODEL": weights, "ENDPOINT_APP": module}
    environment.setdefault("GOMP_SPINCOUNT", "2000")  # as the command does
    python = [sys.executable, "-m"]
    told = subprocess.check_output(
        [*python, "benchmarks.command", "--loop", folder],
        env=environment,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    command = [*python, "flask", "predict", folder, "--output", output]
    found = watched(command, environment, output, len(list(folder.iterdir())))
    output.unlink()
    return {"loop": float(told), "share": found["command"] / float(told)} | found


def loop(folder: Path) -> float:
    """Return the inputs a second of the app's predict alone, on full batches."""
    model = importlib.import_module(os.environ["ENDPOINT_APP"]).Model(device.find())
    uploads = (Upload(file.read_bytes()) for file in sorted(folder.iterdir()))
    images, most = [model.decode(upload) for upload in uploads], model.max_batch
    model.predict(images[:most])
    started = time.monotonic()
    for start in range(0, len(images), most):
        model.predict(images[start : start + most])
    return len(images) / (time.monotonic() - started)


def watched(command: list, environment: dict, output: Path, count: int) -> dict:
    """Return the answers a second from the first tenth to the last, and the memory."""
    times, memory = {}, {}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        done = output.read_bytes().count(b"\n") if output.exists() else 0
        times.setdefault(done, time.monotonic())
        memory.setdefault(done, machine.resident(process.pid))
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
