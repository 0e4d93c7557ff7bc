"""Tens of thousands of requests, and the memory, threads and files of the server.

`python -m tests.demo.soak` sends 50,000 images of mixed sizes to the bundled model,
one in fifty of them corrupt, and writes `soak.json` and `soak.png` to benchmarks/.
"""

import argparse
import asyncio
import io
import json
import platform
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random

import numpy as np

from demo.scenes import draw, sample
from tests.stress.chaos import background, count_statuses
from tests.stress.process import resident_mb, worker_pid
from tests.support.load import closed_loop, percentile
from tests.support.server import ROOT, Server

CLIENTS = 16
WARM_UP = 0.1  # share of the requests during which memory pools still grow
Sample = dict[str, float]


def bodies(count: int, seed: int = 0) -> list[bytes]:
    """Return images of 0.03 to 1.3 megapixels in three formats, each 50th corrupt."""
    random, files = Random(seed), []
    for number in range(count):
        image = draw(sample(random), random)
        side = random.choice([224, 500, 900, 1400])
        image = image.resize((side, side * 2 // 3))
        file = io.BytesIO()
        image.save(file, random.choice(["JPEG", "PNG", "WEBP"]))
        data = file.getvalue()
        files.append(data[: len(data) // 2] if number % 50 == 49 else data)
    return files


def watch(process: int, done: list) -> Iterator[Sample]:
    """Yield a process's memory (MB), threads and open files until `done` is filled."""
    folder, started = Path(f"/proc/{process}"), time.monotonic()
    while not done:
        yield {
            "seconds": time.monotonic() - started,
            "memory": resident_mb(process),
            "threads": len(list(folder.joinpath("task").iterdir())),
            "files": len(list(folder.joinpath("fd").iterdir())),
        }
        time.sleep(1)


def soak(requests: int) -> dict:
    """Send the requests and return the figures."""
    images = bodies(200)
    with Server("gunicorn", ENDPOINT_MODEL="demo") as server:
        worker = worker_pid(server.wait_for(200))
        # Batches of every size come first, because a CPU keeps kernels for each size.
        for clients in range(1, CLIENTS + 1):
            expected = asyncio.run(closed_loop(server.port, clients, images))
        sent = [images[number % len(images)] for number in range(requests)]
        started = time.monotonic()
        with background(closed_loop(server.port, CLIENTS, sent)) as answers:
            samples = list(watch(worker, answers))
        seconds = time.monotonic() - started
    wrong = sum(
        (answer.status, answer.status == 200 and answer.text)
        != (right.status, right.status == 200 and right.text)
        for answer, right in zip(answers, expected * (requests // len(images) + 1))
    )
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, Linux",
        "requests": requests,
        "seconds": round(seconds),
        "statuses": count_statuses(answers),
        "wrong answers": wrong,
        "p50 s": round(percentile(answers, 0.5), 3),
        "p99 s": round(percentile(answers, 0.99), 3),
        "MB per 10,000 requests": round(slope(samples, requests, "memory"), 2),
        "threads": extremes(samples, "threads"),
        "files": extremes(samples, "files"),
        "samples": samples,
    }


def after_warm_up(samples: list[Sample]) -> list[Sample]:
    return [s for s in samples if s["seconds"] > WARM_UP * samples[-1]["seconds"]]


def slope(samples: list[Sample], requests: int, name: str) -> float:
    """Return a value's growth per 10,000 requests after warm-up, by least squares."""
    rest = after_warm_up(samples)
    times, values = [s["seconds"] for s in rest], [s[name] for s in rest]
    per_second = np.polyfit(times, values, 1)[0]
    return per_second * samples[-1]["seconds"] / requests * 10_000


def extremes(samples: list[Sample], name: str) -> list[float]:
    """Return the minimum and the maximum of a value after warm-up."""
    values = [s[name] for s in after_warm_up(samples)]
    return [min(values), max(values)]


def plot(figures: dict, path: Path) -> None:
    from matplotlib import pyplot

    samples, requests = figures["samples"], figures["requests"]
    thousands = [
        s["seconds"] / samples[-1]["seconds"] * requests / 1000 for s in samples
    ]
    _, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5))
    above.plot(thousands, [s["memory"] for s in samples])
    above.set(ylabel="resident memory, MB", ylim=(0, None))
    growth = figures["MB per 10,000 requests"]
    above.set_title(f"{requests:,} requests: {growth} MB per 10,000 after warm-up")
    below.plot(thousands, [s["threads"] for s in samples], label="threads")
    below.plot(thousands, [s["files"] for s in samples], label="open files")
    below.set(xlabel="thousand requests", ylim=(0, None))
    below.legend()
    pyplot.tight_layout()
    pyplot.savefig(path, dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    figures = soak(parser.parse_args().requests)
    folder = ROOT / "benchmarks"
    (folder / "soak.json").write_text(json.dumps(figures) + "\n")
    plot(figures, folder / "soak.png")
    for name, value in figures.items():
        if name != "samples":
            print(f"{name:<24} {value}")
