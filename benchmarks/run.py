"""This endpoint and its peers to their throughput, latency, memory and start time.

`python -m benchmarks.run --checkpoint FOLDER --output benchmarks/results/NAME.json`
measures them in turn, over HTTP, with the same images. Each round starts every server
once, so that all have the same share of a machine's fast and slow times. The results
are medians over the rounds.
"""

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import images, load, machine
from benchmarks.measurements import RESULTS, median, write
from benchmarks.servers import (
    KINDS,
    Server,
    ServerFailed,
    missing_package,
    parse_name,
)

PEERS = ("litserve", "bentoml", "mosec", "ray")
DEFAULT = ("noop", "ours", "generate-fp32", "generate-bf16", "plain", "onnx-fp32")
DEFAULT += tuple(f"{peer}-{dtype}" for peer in PEERS for dtype in ("fp32", "bf16"))


def main() -> None:
    # Let the contexts end the servers when this process is terminated.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = parse(sys.argv[1:])
    unknown = [name for name in options.servers if name.split("-")[0] not in KINDS]
    if unknown:
        names = ", ".join(unknown)
        sys.exit(f"Unknown servers: {names}. Choose from {', '.join(KINDS)}.")
    results = run(options)
    print(f"Wrote {options.output}.")
    sys.exit(0 if results["servers"] else 1)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", nargs="+", default=DEFAULT, metavar="NAME")
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="per measurement")
    parser.add_argument("--warmup", type=float, default=5, help="seconds")
    parser.add_argument("--images", type=int, default=images.COUNT)
    parser.add_argument("--processes", type=int, default=1, help="that send requests")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS / "http.json")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> dict:
    """Measure all rounds; the output is written after each server."""
    settings = {name: str(value) for name, value in vars(options).items()}
    settings["checkpoint"] = options.checkpoint.name
    results = {"kind": "http", "settings": settings, "machine": machine.describe()}
    results["servers"] = {name: {"rounds": []} for name in options.servers}
    captions = {name: Counter() for name in options.servers}
    options.checkpoint = options.checkpoint.absolute()
    files = images.make_images(options.images)
    with tempfile.TemporaryDirectory() as folder:
        images.write_images(files, Path(folder))
        for number in range(options.rounds):
            for name, result in results["servers"].items():
                entry, found = measure_round(name, options, files, folder)
                result["rounds"].append(entry)
                captions[name].update(found)
                print_round(number, name, entry)
                summarize(results["servers"], captions)
                write(results, options.output)
    return results


def measure_round(name, options, files, folder) -> tuple[dict, Counter]:
    """Start a server, measure it and end it; a failure is a result as well."""
    entry, captions = {"steps": {}}, Counter()
    if package := missing_package(name):
        error = f"skipped, the package {package} is not installed"
        return {"error": error, **entry}, captions
    measure = measure_loop if name.startswith("generate") else measure_server
    try:
        measure(name, options, files, folder, entry, captions)
    except (ServerFailed, OSError, ValueError) as error:
        entry["error"] = str(error) or repr(error)
    return entry, captions


def measure_server(name, options, files, folder, entry, captions) -> None:
    with Server(name, options.checkpoint) as server:
        requests = [server.make_request(image) for image in files]
        smallest = min(requests, key=len)
        entry["first_answer_seconds"], entry["ready_seconds"] = server.wait(smallest)
        steps = [(None, 8, options.warmup)]
        steps += [(clients, clients, options.seconds) for clients in options.clients]
        for label, clients, seconds in steps:
            processes = options.processes
            tally = load.measure(server.port, requests, clients, seconds, processes)
            server.check()
            record_memory(entry, server)
            if label:
                captions.update(tally.captions)
                entry["steps"][str(label)] = tally.summary()


def measure_loop(name, options, files, folder, entry, captions) -> None:
    """Run peers/generate.py, which has batch sizes where servers have clients."""
    sizes = [str(size) for size in options.batches]
    arguments = (folder, str(options.seconds), *sizes)
    with Server(name, options.checkpoint, *arguments) as loop:
        for line in loop.process.stdout:
            output = json.loads(line)
            record_memory(entry, loop)
            if "ready" in output:
                entry["ready_seconds"] = time.monotonic() - loop.started
                continue
            captions.update((number, caption) for number, caption in output["captions"])
            entry["steps"][str(output["batch"])] = summarize_loop(output)
        if loop.process.wait():
            loop.check()


def summarize_loop(output: dict) -> dict:
    times = sorted(output["times"])
    answers = len(times) * output["batch"]
    return {
        "answers": answers,
        "per_second": answers / sum(times),
        "p50_seconds": statistics.median(times),
        "p99_seconds": times[min(int(0.99 * len(times)), len(times) - 1)],
        "errors": {},
    }


def record_memory(entry: dict, server: Server) -> None:
    """Keep the highest memory of a round, in MB."""
    used = machine.query_gpu("memory.used")
    if used:
        gpu = float(used.splitlines()[0])
        entry["gpu_memory_mb"] = max(entry.get("gpu_memory_mb", 0.0), gpu)
    entry["memory_mb"] = max(entry.get("memory_mb", 0.0), server.memory() or 0.0)


def summarize(servers: dict, captions: dict[str, Counter]) -> None:
    """Add the medians over the rounds, and how often captions are the same."""
    references: dict[str, dict[int, str]] = {}
    for name, found in captions.items():
        if dtype := parse_name(name)[1]:
            reference = references.setdefault(dtype, {})
            references[dtype] = most_frequent(found) | reference
    for name, result in servers.items():
        good = [entry for entry in result["rounds"] if "error" not in entry]
        if good:
            result["median"] = median(good)
            result["captions"] = {
                "distinct": len({text for _, text in captions[name]}),
                **{
                    f"as_{dtype}": agreement(captions[name], reference)
                    for dtype, reference in references.items()
                },
            }


def most_frequent(captions: Counter) -> dict[int, str]:
    """Return the most frequent caption of each image."""
    best: dict[int, str] = {}
    for (number, caption), _ in captions.most_common():
        best.setdefault(number, caption)
    return best


def agreement(captions: Counter, reference: dict[int, str]) -> float | None:
    """Return the share of captions that equal the reference of their image."""
    known = {key: times for key, times in captions.items() if key[0] in reference}
    same = (
        times for (number, text), times in known.items() if reference[number] == text
    )
    return sum(same) / sum(known.values()) if known else None


def print_round(number: int, name: str, entry: dict) -> None:
    steps = (
        f"{clients}: {step['per_second']:.1f}/s p50 {1000 * step['p50_seconds']:.0f} ms"
        + (f" ERRORS {step['errors']}" if step["errors"] else "")
        for clients, step in entry["steps"].items()
    )
    ready = entry.get("ready_seconds", 0.0)
    line = entry.get("error") or f"ready {ready:.1f} s; " + "; ".join(steps)
    print(f"round {number + 1}, {name}: {line}", flush=True)


if __name__ == "__main__":
    main()
