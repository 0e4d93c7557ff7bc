"""Measure this endpoint and its peers in turn, over HTTP, on the same pictures.

`python -m benchmarks.run --checkpoint FOLDER --output benchmarks/results/NAME.json`.
Each round starts every server once, so that a machine that grows slow or fast is the
same to all of them; what counts is the median over the rounds.
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

from benchmarks import load, machine, pictures
from benchmarks.servers import KINDS, Broken, Server, missing, split

PEERS = ("litserve", "bentoml", "mosec", "ray")
DEFAULT = ("noop", "ours", "generate-fp32", "generate-bf16", "plain", "onnx-fp32")
DEFAULT += tuple(f"{peer}-{dtype}" for peer in PEERS for dtype in ("fp32", "bf16"))
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    # An end from outside must not leave servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = parse(sys.argv[1:])
    unknown = [name for name in options.servers if name.split("-")[0] not in KINDS]
    if unknown:
        sys.exit(f"No such servers: {unknown}; there are {', '.join(KINDS)}.")
    results = run(options)
    print(f"Wrote {options.output}.")
    sys.exit(0 if results["servers"] else 1)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", nargs="+", default=DEFAULT, metavar="NAME")
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="a measurement")
    parser.add_argument("--warmup", type=float, default=5, help="seconds")
    parser.add_argument("--pictures", type=int, default=pictures.COUNT)
    parser.add_argument("--processes", type=int, default=1, help="that send requests")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS / "http.json")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> dict:
    """Measure all rounds; the file is written after each server."""
    settings = {name: str(value) for name, value in vars(options).items()}
    settings["checkpoint"] = options.checkpoint.name
    results = {"kind": "http", "settings": settings, "machine": machine.describe()}
    results["servers"] = {name: {"rounds": []} for name in options.servers}
    captions = {name: Counter() for name in options.servers}
    options.checkpoint = options.checkpoint.absolute()
    mix = pictures.mix(options.pictures)
    with tempfile.TemporaryDirectory() as folder:
        pictures.write(mix, Path(folder))
        for number in range(options.rounds):
            for name, result in results["servers"].items():
                entry, seen = one_round(name, options, mix, folder)
                result["rounds"].append(entry)
                captions[name].update(seen)
                show(number, name, entry)
                conclude(results["servers"], captions)
                write(results, options.output)
    return results


def one_round(name, options, mix, folder) -> tuple[dict, Counter]:
    """Start a server, measure it, end it; a failure is a result too."""
    entry, seen = {"steps": {}}, Counter()
    if reason := missing(name):
        return {"error": f"skipped, {reason}", **entry}, seen
    measure = measure_loop if name.startswith("generate") else measure_server
    try:
        measure(name, options, mix, folder, entry, seen)
    except (Broken, OSError, ValueError) as error:
        entry["error"] = str(error) or repr(error)
    return entry, seen


def measure_server(name, options, mix, folder, entry, seen) -> None:
    with Server(name, options.checkpoint) as server:
        messages = [server.request(picture) for picture in mix]
        entry["first_answer_seconds"], entry["ready_seconds"] = server.wait(
            min(messages, key=len)
        )
        rounds = [(None, 8, options.warmup)]
        rounds += [(clients, clients, options.seconds) for clients in options.clients]
        for label, clients, seconds in rounds:
            processes = options.processes
            answers = load.measure(server.port, messages, clients, seconds, processes)
            server.check()
            weigh(entry, server)
            if label:
                seen.update(answers.captions)
                entry["steps"][str(label)] = answers.summary()


def measure_loop(name, options, mix, folder, entry, seen) -> None:
    """Run generate.py; its batch sizes stand where servers have clients."""
    batches = [str(size) for size in options.batches]
    with Server(name, options.checkpoint, folder, str(options.seconds), *batches) as it:
        for line in it.process.stdout:
            output = json.loads(line)
            weigh(entry, it)
            if "ready" in output:
                entry["ready_seconds"] = time.monotonic() - it.started
                continue
            seen.update((number, caption) for number, caption in output["captions"])
            entry["steps"][str(output["batch"])] = loop_summary(output)
        if it.process.wait():
            it.check()


def loop_summary(output: dict) -> dict:
    times = sorted(output["times"])
    answers = len(times) * output["batch"]
    return {
        "answers": answers,
        "per_second": answers / sum(times),
        "p50_seconds": statistics.median(times),
        "p99_seconds": times[min(int(0.99 * len(times)), len(times) - 1)],
        "errors": {},
    }


def weigh(entry: dict, server: Server) -> None:
    """Note the most memory seen."""
    used = machine.graphics("memory.used")
    if used:
        gpu = float(used.splitlines()[0])
        entry["gpu_memory_mb"] = max(entry.get("gpu_memory_mb", 0.0), gpu)
    entry["memory_mb"] = max(entry.get("memory_mb", 0.0), server.memory() or 0.0)


def conclude(servers: dict, captions: dict[str, Counter]) -> None:
    """Add medians over the rounds, and how captions agree."""
    references: dict[str, dict[int, str]] = {}
    for name, seen in captions.items():
        if dtype := split(name)[1]:
            reference = references.setdefault(dtype, {})
            references[dtype] = favourites(seen) | reference
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


def median(values: list):
    """Return the median of numbers, field by field in dictionaries; errors add up."""
    if isinstance(values[0], dict):
        shared = [key for key in values[0] if all(key in value for value in values)]
        return {
            key: (
                dict(sum((Counter(value[key]) for value in values), Counter()))
                if key == "errors"
                else median([value[key] for value in values])
            )
            for key in shared
        }
    return statistics.median(values)


def favourites(seen: Counter) -> dict[int, str]:
    """Return each picture's most frequent caption."""
    best: dict[int, str] = {}
    for (number, caption), _ in seen.most_common():
        best.setdefault(number, caption)
    return best


def agreement(seen: Counter, reference: dict[int, str]) -> float | None:
    """Return the share of answers that say what the reference says of the picture."""
    known = {key: times for key, times in seen.items() if key[0] in reference}
    same = (
        times for (number, text), times in known.items() if reference[number] == text
    )
    return sum(same) / sum(known.values()) if known else None


def show(number: int, name: str, entry: dict) -> None:
    steps = (
        f"{clients}: {step['per_second']:.1f}/s p50 {1000 * step['p50_seconds']:.0f} ms"
        + (f" ERRORS {step['errors']}" if step["errors"] else "")
        for clients, step in entry["steps"].items()
    )
    ready = entry.get("ready_seconds", 0.0)
    line = entry.get("error") or f"ready {ready:.1f} s; " + "; ".join(steps)
    print(f"round {number + 1}, {name}: {line}", flush=True)


def write(results: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
