"""How long a start takes, beside a bare script that loads the same weights.

`python -m benchmarks.start --checkpoint FOLDER` bakes the checkpoint, then starts in
turn: the bare script and gunicorn, each from the original and from the baked folder.
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
from benchmarks.run import RESULTS, median, write
from benchmarks.servers import ROOT, free_port

# The least that a server with this model does before it can answer.
BARE = """
import sys
from transformers import AutoTokenizer, VisionEncoderDecoderModel
from vit_gpt2.layers import fast_dtype
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
        subprocess.run(bake, check=True, cwd=ROOT, env=variables(folders["original"]))
        rounds = [
            {name: one_round(folder) for name, folder in folders.items()}
            for _ in range(options.rounds)
        ]
    results = {"kind": "start", "machine": machine.describe(), "rounds": rounds}
    settings = {"checkpoint": options.checkpoint.name, "rounds": options.rounds}
    figures = median(rounds)
    write(results | {"settings": settings, "median": figures}, options.output)
    for name, each in figures.items():
        print(name, ", ".join(f"{key} {value:.2f} s" for key, value in each.items()))


def variables(folder: Path) -> dict[str, str]:
    return os.environ | {"ENDPOINT_MODEL": str(folder), "HF_HUB_OFFLINE": "1"}


def one_round(folder: Path) -> dict[str, float]:
    """Return the seconds of a bare script, and of ours to /ping and to ready."""
    started = time.monotonic()
    command = [sys.executable, "-c", BARE, str(folder)]
    quiet = {"stderr": subprocess.DEVNULL}
    subprocess.run(command, check=True, cwd=ROOT, env=variables(folder), **quiet)
    bare = time.monotonic() - started
    port, started = free_port(), time.monotonic()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, cwd=ROOT, env=variables(folder), **quiet)
    try:
        first, ready = (wait(port, started, status) for status in ((200, 204), (200,)))
    finally:
        server.terminate()
        server.wait(30)
    return {"bare": bare, "ping": first, "ready": ready}


def wait(port: int, started: float, statuses: tuple[int, ...]) -> float:
    """Return the seconds since then until /ping answers with such a status."""
    while (waited := time.monotonic() - started) < 300:
        with suppress(OSError):
            url = f"http://127.0.0.1:{port}/ping"
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status in statuses:
                    return time.monotonic() - started
        time.sleep(0.02)
    sys.exit(f"No /ping with {statuses} after {waited:.0f} s.")


if __name__ == "__main__":
    main()
