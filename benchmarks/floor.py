"""Small uploads to what HTTP costs: this endpoint, and applications that do nothing.

`python -m benchmarks.floor` starts four servers and sends the same upload to one after
the other, round after round: a WSGI application in gunicorn's own thread worker that
answers at once, one that reads the upload first, Flask that does the same, and this
endpoint with a model that decodes nothing and sleeps. The cost is the CPU time of all
processes of the server for each request, which other processes on the machine disturb
less than the requests per second. It also compares the answers and the memory of one,
two and four workers with the bundled model.
"""

import argparse
import signal
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks import images, load, machine
from benchmarks.measurements import RESULTS, median, write
from benchmarks.servers import Server, ServerFailed
from tests.stress.process import cpu_seconds
from tests.support.server import ROOT

FLOOR = {  # row of the table: server, field of the form
    "no-op": ("noop-unread", None),
    "upload-reading no-op": ("noop-reading", None),
    "upload-reading no-op in Flask": ("noop-flask", None),
    "ours, body": ("ours-asleep", None),
    "ours, form": ("ours-asleep", "file"),
}
WORKERS = {1: "ours", 2: "ours-2-workers", 4: "ours-4-workers"}
READY_SECONDS = 300


def main() -> None:
    # Let the contexts end the servers when this process is terminated.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="per measurement")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--output", type=Path, default=RESULTS / "floor.json")
    options = parser.parse_args()
    settings = {"rounds": options.rounds, "seconds": options.seconds}
    results = {"kind": "floor", "machine": machine.describe()}
    results["settings"] = settings | {"clients": options.clients}
    results["busy_before"] = machine.measure_busy()
    results["rounds"] = measure_floor(options)
    results["median"] = median(results["rounds"])
    results["workers"] = {
        str(count): measure_workers(name, count) for count, name in WORKERS.items()
    }
    write(results, options.output)
    print(f"Wrote {options.output}.")


def measure_floor(options: argparse.Namespace) -> list[dict]:
    """Return for each round the throughput and the cost of each row."""
    upload = (ROOT / "french_bulldog.jpg").read_bytes()
    with ExitStack() as stack:
        names = {name for name, _ in FLOOR.values()}
        servers = {name: stack.enter_context(Server(name, None)) for name in names}
        requests = {
            row: load.make_request(upload, field=field)
            for row, (_, field) in FLOOR.items()
        }
        for row, (name, _) in FLOOR.items():
            servers[name].wait(requests[row])
            load.measure(servers[name].port, [requests[row]], options.clients, 1)
        rounds = []
        for _ in range(options.rounds):
            found = {
                row: measure_row(servers[name], requests[row], options)
                for row, (name, _) in FLOOR.items()
            }
            rounds.append(found)
            print(", ".join(f"{row} {x['cpu_ms']:.2f} ms" for row, x in found.items()))
        return rounds


def measure_row(server: Server, request: bytes, options: argparse.Namespace) -> dict:
    """Return requests per second, and milliseconds of CPU time for each."""
    before = sum(map(cpu_seconds, server.processes()))
    tally = load.measure(server.port, [request], options.clients, options.seconds)
    seconds = sum(map(cpu_seconds, server.processes())) - before
    summary = tally.summary()
    return {
        "per_second": summary["per_second"],
        "cpu_ms": 1000 * seconds / max(summary["answers"], 1),
        "p50_seconds": summary["p50_seconds"],
        "errors": summary["errors"],
    }


def measure_workers(name: str, count: int) -> dict:
    """Return the memory of the server, and its captions of the benchmark's images."""
    files = images.make_images(12)
    with Server(name, Path("demo")) as server:
        requests = [server.make_request(image) for image in files]
        wait_for_workers(server, count)
        tally = load.measure(server.port, requests, 16, 5)
        figures = {"memory_mb": server.memory(), **tally.summary()}
    captions = sorted(tally.captions)  # pairs of an image's number and its caption
    return figures | {"captions": captions}


def wait_for_workers(server: Server, count: int) -> None:
    """Wait until as many workers have loaded the model."""
    while time.monotonic() - server.started < READY_SECONDS:
        server.check()
        with suppress(OSError):
            url = f"http://127.0.0.1:{server.port}/metrics"
            with urllib.request.urlopen(url, timeout=5) as response:
                if f"\nendpoint_ready {count:.1f}\n" in response.read().decode():
                    return
        time.sleep(0.2)
    raise ServerFailed(f"{count} workers are not ready: {server.tail()}")


if __name__ == "__main__":
    main()
