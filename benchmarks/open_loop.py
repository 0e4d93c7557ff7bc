"""Requests that arrive at a rate to the latency of each server, up to where it breaks.

`python -m benchmarks.open_loop` measures this endpoint, with and without its delay, and
its peers. Clients in a closed loop wait for their answers before they send again, so a
slow server gets fewer requests; here the requests arrive at random times (a Poisson
process), and an answer's time counts from the planned time. The rates of a server end
with the first that it does not keep up with. The endpoint is also measured in a closed
loop, with and without the delay.

Without `--checkpoint` it is the bundled model, which suits a machine of a few cores.
"""

import argparse
import signal
import sys
from pathlib import Path

from benchmarks import images, load, machine
from benchmarks.measurements import RESULTS, write
from benchmarks.servers import Server, ServerFailed, missing_package
from model_helpers.pretrained import fast_dtype
from model_helpers.weights import BUNDLED

OURS = ("ours", "ours-no-delay")
PEERS = ("litserve", "bentoml", "mosec", "ray")
LIMIT = 5.0  # seconds; a server whose 99th percentile is longer does not keep up


def main() -> None:
    # Let the contexts end the servers when this process is terminated.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = parse(sys.argv[1:])
    run(options)
    print(f"Wrote {options.output}.")


def parse(arguments: list[str]) -> argparse.Namespace:
    # The peers in the number type that is fastest on a CPU like this one.
    dtype = "fp32" if str(fast_dtype("cpu")) == "torch.float32" else "bf16"
    dtype = "bf16" if machine.query_gpu("name") else dtype
    servers = [*OURS, *(f"{peer}-{dtype}" for peer in PEERS)]
    rates = [2, 4, 8, 16, 24, 32, 48, 64]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", nargs="+", default=servers, metavar="NAME")
    parser.add_argument("--rates", nargs="+", type=float, default=rates)
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=15, help="per measurement")
    parser.add_argument("--warmup", type=float, default=5, help="seconds")
    parser.add_argument("--images", type=int, default=images.COUNT)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--output", type=Path, default=RESULTS / "open-loop.json")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> dict:
    """Measure each server once; the output is written after each server."""
    shown = {name: str(value) for name, value in vars(options).items()}
    shown |= {"checkpoint": options.checkpoint.name, "output": options.output.name}
    shown["limit"] = f"{LIMIT:g}"
    results = {"kind": "open-loop", "settings": shown, "machine": machine.describe()}
    results["servers"] = {}
    options.checkpoint = options.checkpoint.absolute()
    files = images.make_images(options.images)
    for name in options.servers:
        entry = {"busy_before": machine.measure_busy(), "open": {}, "closed": {}}
        results["servers"][name] = entry
        try:
            measure_server(name, options, files, entry)
        except (ServerFailed, OSError, ValueError) as error:
            entry["error"] = str(error) or repr(error)
        print(f"{name}: {entry.get('error', 'finished')}", flush=True)
        write(results, options.output)
    return results


def measure_server(name: str, options, files: list, entry: dict) -> None:
    """Add the answers in both loops to the entry."""
    if package := missing_package(name):
        raise ServerFailed(f"skipped, the package {package} is not installed")
    with Server(name, options.checkpoint) as server:
        requests = [server.make_request(image) for image in files]
        server.wait(min(requests, key=len))
        load.measure(server.port, requests, 8, options.warmup)
        for rate in sorted(options.rates):
            step = load.measure_open(server.port, requests, rate, options.seconds)
            server.check()
            step["keeps_up"] = not step["errors"] and step["p99_seconds"] <= LIMIT
            entry["open"][f"{rate:g}"] = step
            print_step(name, f"{rate:g}/s", step)
            if not step["keeps_up"]:
                break
        for clients in options.clients if name in OURS else ():
            tally = load.measure(server.port, requests, clients, options.seconds)
            entry["closed"][str(clients)] = tally.summary()
            print_step(name, f"{clients} clients", tally.summary())


def print_step(name: str, label: str, step: dict) -> None:
    p50, p99 = step["p50_seconds"], step["p99_seconds"]
    line = f"{name}, {label}: p50 {p50:.2f} s, p99 {p99:.2f} s"
    print(f"{line} ERRORS {step['errors']}" if step["errors"] else line, flush=True)


if __name__ == "__main__":
    main()
