"""The model without HTTP to its throughput, and to the share of what is possible.

`python -m benchmarks.engine --checkpoint FOLDER --output benchmarks/results/NAME.json`
measures the model by batch size, the machine's matrix multiplication and memory
bandwidth, and the decoding of images. The bound is a roofline: each phase takes at
least the time for its arithmetic and at least the time for its memory traffic.
"""

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoImageProcessor

from benchmarks import images, machine
from benchmarks.measurements import RESULTS, write
from endpoint.device import find_device
from model_helpers.pretrained import fast_dtype
from model_interface.files import Upload

BEAMS, STEPS, STATES = 4, 15, 197
PATCH = 16 * 16 * 3  # values


def main() -> None:
    options = parse()
    write(measure(options), options.output)
    print(f"Wrote {options.output}.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64]
    )
    parser.add_argument("--seconds", type=float, default=5, help="per measurement")
    parser.add_argument("--images", type=int, default=images.COUNT)
    parser.add_argument("--output", type=Path, default=RESULTS / "engine.json")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict:
    os.environ["ENDPOINT_MODEL"] = str(options.checkpoint.absolute())
    from endpoint.model import Model

    device, started = find_device(), time.monotonic()
    model = Model(device)
    results = {
        "kind": "engine",
        "settings": {"seconds": options.seconds, "checkpoint": options.checkpoint.name},
        "machine": machine.describe(),
        "device": device,
        "load_seconds": time.monotonic() - started,
    }
    files = images.make_images(options.images)
    uploads = [Upload(image.data) for image in files]
    batches = measure_batches(model, uploads, options)
    if device != "cpu":  # before the limits below are measured, which use more
        results["gpu_memory_mb"] = torch.cuda.max_memory_reserved() / 1e6
    results |= add_bounds(batches, options, device)
    results["decoding"] = measure_decoding(model, files, options.checkpoint)
    results["decoded_per_second"] = decode_rate(model, uploads, options.seconds)
    print_results(results)
    return results


def add_bounds(batches: dict, options: argparse.Namespace, device: str) -> dict:
    """Measure the limits of the machine and add the roofline to each batch size."""
    dtype = fast_dtype(device)
    config = json.loads((options.checkpoint / "config.json").read_text())
    flops = matmul_flops(device, dtype, options.seconds)
    bandwidth = copy_bandwidth(device)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "flops": flops,
        "bytes_per_second": bandwidth,
        "batches": {
            str(size): found | bound(config, size, dtype.itemsize, flops, bandwidth)
            for size, found in batches.items()
        },
    }


def time_calls(function: Callable[[], object], seconds: float) -> list[float]:
    """Call for some seconds, at least three times; return the seconds of each call."""
    function()
    times, deadline = [], time.monotonic() + seconds
    while len(times) < 3 or time.monotonic() < deadline:
        started = time.monotonic()
        function()
        times.append(time.monotonic() - started)
    return times


def measure_batches(model, uploads: list, options: argparse.Namespace) -> dict:
    """Measure predict by batch size; it returns text, so the device has finished."""
    inputs, found = [model.decode(upload) for upload in uploads], {}
    for size in options.batches:
        batch = list(islice(cycle(inputs), size))
        times = time_calls(lambda: model.predict(batch), options.seconds)
        seconds = statistics.median(times)
        found[size] = {"seconds": seconds, "per_second": size / seconds}
    return found


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def matmul_flops(device: str, dtype: torch.dtype, seconds: float) -> float:
    """Return the highest FLOP/s of multiplying square matrices."""
    best = 0.0
    for side in (1024, 2048, 4096) if device == "cpu" else (4096, 8192, 16384):
        left, right = torch.randn(2, side, side, device=device, dtype=dtype)

        def multiply() -> None:
            left @ right
            synchronize(device)

        best = max(best, 2 * side**3 / min(time_calls(multiply, seconds / 3)))
    return best


def copy_bandwidth(device: str) -> float:
    """Return the bytes per second, read and written, of copying 1 GB (CPU: 256 MB)."""
    source = torch.ones(2**28 if device == "cpu" else 2**30, dtype=torch.uint8)
    source = source.to(device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        synchronize(device)

    return 2 * source.nbytes / min(time_calls(copy, 1.0))


def bound(
    config: dict, batch_size: int, itemsize: int, flops: float, bandwidth: float
) -> dict:
    """Return the least seconds for a batch, its arithmetic and its memory traffic."""
    phases = [encoder_cost(config, batch_size, itemsize)]
    phases += [
        decoder_step_cost(config, batch_size, itemsize, step) for step in range(STEPS)
    ]
    return {
        "bound_seconds": sum(max(f / flops, b / bandwidth) for f, b in phases),
        "flop": sum(flop for flop, _ in phases),
        "bytes": sum(traffic for _, traffic in phases),
    }


def encoder_cost(config: dict, batch_size: int, itemsize: int) -> tuple[float, float]:
    """Return FLOP and bytes of the ViT and of the cross-attention's keys and values."""
    vit, gpt2 = config["encoder"], config["decoder"]
    width, layers = vit["hidden_size"], vit["num_hidden_layers"]
    cross = 2 * gpt2["n_embd"] * width * gpt2["n_layer"]  # weights
    weights = 12 * width**2 * layers + PATCH * width + cross
    attention = 4 * STATES**2 * width * layers
    written = 2 * gpt2["n_embd"] * gpt2["n_layer"] * STATES * batch_size
    flop = batch_size * (2 * STATES * weights + attention)
    return flop, itemsize * (weights + written)


def decoder_step_cost(config: dict, batch_size: int, itemsize: int, step: int):
    """Return FLOP and bytes of one token for every beam.

    The weights are read once, the keys and values of an image once for all its beams,
    and those of earlier tokens once for each beam.
    """
    gpt2 = config["decoder"]
    width, layers = gpt2["n_embd"], gpt2["n_layer"]
    weights = 14 * width**2 * layers + gpt2["vocab_size"] * width
    flop = BEAMS * (2 * weights + 4 * (STATES + step + 1) * width * layers)
    read = 2 * width * layers * (STATES + BEAMS * (step + 1))
    return batch_size * flop, itemsize * (weights + batch_size * read)


def measure_decoding(model, files: list, checkpoint: Path) -> list[dict]:
    """Measure from file to input, in the endpoint and as transformers documents it."""
    processor = AutoImageProcessor.from_pretrained(checkpoint)

    def decode_theirs(data: bytes) -> object:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        return processor(images=image, return_tensors="pt")

    return [
        {
            "megapixels": image.megapixels,
            "format": image.format,
            "seconds": min(time_calls(lambda: model.decode(Upload(image.data)), 0)),
            "transformers_seconds": min(
                time_calls(lambda: decode_theirs(image.data), 0)
            ),
        }
        for image in files
    ]


def decode_rate(model, uploads: list, seconds: float) -> float:
    """Return the images per second that all cores decode together."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def decode_all() -> None:
            list(pool.map(model.decode, uploads))

        return len(uploads) / statistics.median(time_calls(decode_all, seconds))


def print_results(results: dict) -> None:
    flops, bandwidth = results["flops"] / 1e12, results["bytes_per_second"] / 1e9
    print(f"{results['dtype']}: {flops:.2f} TFLOP/s, {bandwidth:.0f} GB/s")
    for size, figures in results["batches"].items():
        share = figures["bound_seconds"] / figures["seconds"]
        print(
            f"batch {size}: {1000 * figures['seconds']:.1f} ms, "
            f"{figures['per_second']:.1f}/s, {share:.0%} of the roofline"
        )
    print(f"decoding on all cores: {results['decoded_per_second']:.0f} images/s")


if __name__ == "__main__":
    main()
