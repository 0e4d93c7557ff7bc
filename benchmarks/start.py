"""A checkpoint to the seconds until a server with it, or a minimal script, is ready.

`python -m benchmarks.start --checkpoint FOLDER` bakes the checkpoint. Then it starts,
in turn and each from the original and the baked folder, a script that only loads the
weights, and gunicorn.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from benchmarks import machine
from benchmarks.measurements import RESULTS, median, write
from tests.support.server import ROOT, free_port

# What any server with this model has to do before it can answer.
SCRIPT = """
import sys
from transformers import AutoTokenizer, VisionEncoderDecoderModel
from model_helpers.pretrained import fast_dtype
AutoTokenizer.from_pretrained(sys.argv[1])
dtype = fast_dtype("cpu")
VisionEncoderDecoderModel.from_pretrained(sys.argv[1], dtype=dtype)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "start.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folders = {"original": options.checkpoint.absolute()}
        folders["baked"] = Path(temporary) / "baked"
        bake = [sys.executable, "-m", "flask", "bake", str(folders["baked"])]
        environment = make_environment(folders["original"])
        subprocess.run(bake, check=True, cwd=ROOT, env=environment)
        rounds = [
            {name: measure_round(folder) for name, folder in folders.items()}
            for _ in range(options.rounds)
        ]
    results = {"kind": "start", "machine": machine.describe(), "rounds": rounds}
    settings = {"checkpoint": options.checkpoint.name, "rounds": options.rounds}
    figures = median(rounds)
    write(results | {"settings": settings, "median": figures}, options.output)
    for name, each in figures.items():
        print(name, ", ".join(f"{key} {value:.2f} s" for key, value in each.items()))


def make_environment(folder: Path) -> dict[str, str]:
    return os.environ | {"ENDPOINT_MODEL": str(folder), "HF_HUB_OFFLINE": "1"}


def measure_round(folder: Path) -> dict[str, float]:
    """Return the seconds of the script, until /ping answers and until it is ready."""
    options = {"cwd": ROOT, "env": make_environment(folder)}
    options["stderr"] = subprocess.DEVNULL
    started = time.monotonic()
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    subprocess.run(command, check=True, **options)
    script = time.monotonic() - started
    port, started = free_port(), time.monotonic()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, **options)
    try:
        ping, ready = (wait(port, started, status) for status in ((200, 204), (200,)))
    finally:
        server.terminate()
        server.wait(30)
    return {"script": script, "ping": ping, "ready": ready}


def wait(port: int, started: float, statuses: tuple[int, ...]) -> float:
    """Return the seconds since `started` until /ping has one of the statuses."""
    while (waited := time.monotonic() - started) < 300:
        with suppress(OSError):
            url = f"http://127.0.0.1:{port}/ping"
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status in statuses:
                    return time.monotonic() - started
        time.sleep(0.02)
    sys.exit(f"/ping did not answer {statuses} within {waited:.0f} s.")


if __name__ == "__main__":
    main()
