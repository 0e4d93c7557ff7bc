"""Drawn images over two nodes: `python -m tests.deploy.long_ray_data --images 20000`.

The images are files, Parquet and a tar, and one in a hundred is broken. A worker and
then the job itself are killed, and all rows are compared with those of `flask predict`.
The script prints the rates of `flask predict`, of one worker and of two, and the memory
of the job's own process. The rates do not depend on cores with a model that sleeps:
ENDPOINT_MODULE=tests.support.fake_model and FAKE_SECONDS=1.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from demo.scenes import draw, sample
from tests.stress.process import resident_mb
from tests.support.ray_cluster import RayCluster
from tests.support.server import ROOT, SCRIPTS
from tests.support.tables import read_rows, write_parquet, write_shard

DRAWN = 50  # different images; the others are copies of them
PARTS = 5  # files of answers before something is killed
Rows = list[tuple[str | None, str | None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    count = parser.parse_args().images
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = draw_files(folder / "files", count)
        paths = sorted(files.iterdir())
        few = folder / "few"
        few.mkdir()
        for path in paths[: count // 10]:
            os.link(path, few / path.name)
        table = write_parquet(folder / "table.parquet", paths)
        shard = write_shard(folder / "shard.tar", paths)
        expected = predict(files, folder / "expected.jsonl", count)
        cluster = object.__new__(RayCluster)
        try:
            cluster.__init__()
            run(cluster, few, folder / "one", MAX_REPLICAS="1")
            for source, action in (
                (files, None),
                (files, kill_worker),
                (files, kill_job),
                (table, kill_worker),
                (shard, kill_job),
            ):
                name = f"{source.name} {getattr(action, '__name__', '')}"
                rows = run(cluster, source, folder / name, action)
                assert rows == expected, name
        finally:
            cluster.stop()


def draw_files(folder: Path, count: int) -> Path:
    """Draw images of different sizes, copy them, and break one in a hundred."""
    folder.mkdir()
    for number in range(DRAWN):
        size = 300 + number, 320
        image = draw(sample(Random(number)), Random(number), size)
        image.save(folder / f"{number:06}.jpg")
    for number in range(DRAWN, count):
        os.link(folder / f"{number % DRAWN:06}.jpg", folder / f"{number:06}.jpg")
    for number in range(7, count, 100):
        (folder / f"{number:06}.jpg").unlink()
        (folder / f"{number:06}.jpg").write_bytes(b"no image")
    return folder


def predict(source: Path, output: Path, count: int) -> Rows:
    """Return the answer or the error of each input, as `flask predict` has them."""
    command = [SCRIPTS / "flask", "predict", source, "--output", output]
    errors = output.with_suffix(".errors")
    with errors.open("w") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stderr=stream)
        while not (output.exists() and output.stat().st_size):
            assert process.poll() is None, errors.read_text()
            time.sleep(0.1)
        started, first = time.monotonic(), output.read_bytes().count(b"\n")
        process.wait()
    rows = [*map(json.loads, output.read_text().splitlines())]
    rate = (len(rows) - first) / (time.monotonic() - started)
    print(f"flask predict: {rate:.1f} images a second", flush=True)
    for line in errors.read_text().splitlines():
        name, _, sentence = line.partition(": ")
        if name.endswith(".jpg"):
            rows.append({"input": name, "error": sentence})
    assert len(rows) == count
    return in_order(rows)


def in_order(rows: list[dict]) -> Rows:
    """Return answers and errors by the number in the name: 12.jpg, table.parquet:12."""
    rows.sort(key=lambda row: int(re.findall(r"\d+", row["input"])[-1]))
    return [(row.get("caption"), row.get("error")) for row in rows]


def run(
    cluster: RayCluster,
    source: Path,
    target: Path,
    action: Callable[[RayCluster, subprocess.Popen], object] | None = None,
    **environment: str,
) -> Rows:
    """Run a job, with an action once it has written some files; print its figures."""
    cluster.environment |= {"MAX_REPLICAS": "2"} | environment
    job, memory, started, first = cluster.start(source, target), 0.0, 0.0, 0
    while job.poll() is None:
        memory = max(memory, resident_mb(job.pid))
        parts = len(list(target.glob("*.parquet")))
        if parts and not started:
            started, first = time.monotonic(), len(read_rows(target))
        if action and parts >= PARTS:
            action(cluster, job)
            action = None
            if job.poll() is not None:
                print(f"cut off after {len(read_rows(target)):,} rows", flush=True)
                job = cluster.start(source, target, "--resume")
        time.sleep(0.2)
    assert job.returncode == 1 and not action  # Some images are broken.
    rows = read_rows(target)
    rate = (len(rows) - first) / (time.monotonic() - started)
    figures = f"{len(rows):,} rows, {rate:.1f} a second, {memory:.0f} MB"
    print(f"{target.name}: {figures}", flush=True)
    return in_order(rows)


def kill_worker(cluster: RayCluster, job: subprocess.Popen) -> None:
    os.kill(cluster.processes("Predictor")[0], signal.SIGKILL)


def kill_job(cluster: RayCluster, job: subprocess.Popen) -> None:
    job.kill()
    job.wait()


if __name__ == "__main__":
    main()
