"""The model alone, without HTTP, against what the same machine can do at best.

`python -m benchmarks.engine --checkpoint FOLDER --output benchmarks/results/NAME.json`
measures the model by batch size, the machine's matrix multiplication and copying, and
what decoding a picture costs. The bound is a roofline: each phase takes at least the
time of its arithmetic and at least that of its reading and writing.
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

from benchmarks import machine, pictures
from benchmarks.run import RESULTS, write
from endpoint import device
from endpoint.uploads import Upload

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
    parser.add_argument("--seconds", type=float, default=5, help="a measurement")
    parser.add_argument("--pictures", type=int, default=pictures.COUNT)
    parser.add_argument("--output", type=Path, default=RESULTS / "engine.json")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict:
    os.environ["ENDPOINT_MODEL"] = str(options.checkpoint.absolute())
    from endpoint.model import Model

    where, started = device.find(), time.monotonic()
    model = Model(where)
    results = {
        "kind": "engine",
        "settings": {"seconds": options.seconds, "checkpoint": options.checkpoint.name},
        "machine": machine.describe(),
        "device": where,
        "load_seconds": time.monotonic() - started,
    }
    mix = pictures.mix(options.pictures)
    uploads = [Upload(picture.data) for picture in mix]
    results |= batches(
        model, [model.decode(upload) for upload in uploads], options, where
    )
    if where != "cpu":
        results["gpu_memory_mb"] = torch.cuda.max_memory_reserved() / 1e6
    results["decoding"] = decoding(model, mix, uploads, options.checkpoint)
    results["decoded_per_second"] = in_parallel(model, uploads, options.seconds)
    show(results)
    return results


def batches(model, images: list, options: argparse.Namespace, where: str) -> dict:
    """Measure the machine's ceilings and the model by batch size below them."""
    dtype = number_type(model) or torch.float32
    config = json.loads((options.checkpoint / "config.json").read_text())
    peak, bandwidth = multiplying(where, dtype, options.seconds), copying(where)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "flops": peak,
        "bytes_per_second": bandwidth,
        "batches": {
            str(size): one_batch(model, images, size, options.seconds)
            | bound(config, size, dtype.itemsize, peak, bandwidth)
            for size in options.batches
        },
    }


def number_type(part: object, depth: int = 3) -> torch.dtype | None:
    """Return the type of the first weights found in an object's attributes."""
    if isinstance(part, torch.nn.Module):
        return next(part.parameters()).dtype
    if isinstance(part, torch.Tensor) and part.is_floating_point():
        return part.dtype
    children = list(getattr(part, "__dict__", {}).values()) if depth else []
    found = (number_type(child, depth - 1) for child in children)
    return next(filter(None, found), None)


def times(work: Callable[[], object], seconds: float) -> list[float]:
    """Call for so long, three times or more; return the seconds of each call."""
    work()
    found, until = [], time.monotonic() + seconds
    while len(found) < 3 or time.monotonic() < until:
        started = time.monotonic()
        work()
        found.append(time.monotonic() - started)
    return found


def one_batch(model, images: list, size: int, seconds: float) -> dict:
    """Measure predict on a batch; its answer is text, so the device has finished."""
    batch = list(islice(cycle(images), size))
    middle = statistics.median(times(lambda: model.predict(batch), seconds))
    return {"seconds": middle, "per_second": size / middle}


def finish(where: str) -> None:
    if where != "cpu":
        torch.cuda.synchronize()


def multiplying(where: str, dtype: torch.dtype, seconds: float) -> float:
    """Return the most FLOP/s of multiplying square matrices."""
    best = 0.0
    for side in (1024, 2048, 4096) if where == "cpu" else (4096, 8192, 16384):
        left, right = torch.randn(2, side, side, device=where, dtype=dtype)

        def work() -> None:
            left @ right
            finish(where)

        best = max(best, 2 * side**3 / min(times(work, seconds / 3)))
    return best


def copying(where: str) -> float:
    """Return the bytes a second, read and written, of copying 1 GB (CPU: 256 MB)."""
    source = torch.ones(2**28 if where == "cpu" else 2**30, dtype=torch.uint8)
    source = source.to(where)
    target = torch.empty_like(source)

    def work() -> None:
        target.copy_(source)
        finish(where)

    return 2 * source.nbytes / min(times(work, 1.0))


def bound(config: dict, images: int, item: int, peak: float, bandwidth: float) -> dict:
    """Return the least seconds for a batch, its arithmetic and its traffic."""
    phases = [encoding(config, images, item)]
    phases += [decoder_step(config, images, item, step) for step in range(STEPS)]
    return {
        "bound_seconds": sum(max(f / peak, b / bandwidth) for f, b in phases),
        "flop": sum(flop for flop, _ in phases),
        "bytes": sum(traffic for _, traffic in phases),
    }


def encoding(config: dict, images: int, item: int) -> tuple[float, float]:
    """Return FLOP and bytes of the ViT and of the keys and values for its states."""
    vit, gpt2 = config["encoder"], config["decoder"]
    width, layers = vit["hidden_size"], vit["num_hidden_layers"]
    cross = 2 * gpt2["n_embd"] * width * gpt2["n_layer"]  # weights
    weights = 12 * width**2 * layers + PATCH * width + cross
    attention = 4 * STATES**2 * width * layers
    written = 2 * gpt2["n_embd"] * gpt2["n_layer"] * STATES * images
    return images * (2 * STATES * weights + attention), item * (weights + written)


def decoder_step(config: dict, images: int, item: int, step: int):
    """Return FLOP and bytes of one token for every beam.

    The weights are read once; keys and values of the picture once an image, those of
    the earlier tokens once a beam.
    """
    gpt2 = config["decoder"]
    width, layers = gpt2["n_embd"], gpt2["n_layer"]
    weights = 14 * width**2 * layers + gpt2["vocab_size"] * width
    flop = BEAMS * (2 * weights + 4 * (STATES + step + 1) * width * layers)
    seen = 2 * width * layers * (STATES + BEAMS * (step + 1))
    return images * flop, item * (weights + images * seen)


def decoding(model, mix: list, uploads: list, checkpoint: Path) -> list[dict]:
    """Measure a picture's way to the model's input, ours and by transformers' book."""
    processor = AutoImageProcessor.from_pretrained(checkpoint)

    def theirs(data: bytes) -> object:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        return processor(images=image, return_tensors="pt")

    return [
        {
            "megapixels": picture.megapixels,
            "kind": picture.kind,
            "seconds": min(times(lambda: model.decode(upload), 0)),
            "transformers_seconds": min(times(lambda: theirs(picture.data), 0)),
        }
        for picture, upload in zip(mix, uploads)
    ]


def in_parallel(model, uploads: list, seconds: float) -> float:
    """Return the pictures a second that all cores decode."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def work() -> None:
            list(pool.map(model.decode, uploads))

        return len(uploads) / statistics.median(times(work, seconds))


def show(results: dict) -> None:
    peak, bandwidth = results["flops"] / 1e12, results["bytes_per_second"] / 1e9
    print(f"{results['dtype']}: {peak:.2f} TFLOP/s, {bandwidth:.0f} GB/s")
    for size, figures in results["batches"].items():
        share = figures["bound_seconds"] / figures["seconds"]
        print(
            f"batch {size}: {1000 * figures['seconds']:.1f} ms, "
            f"{figures['per_second']:.1f}/s, {share:.0%} of the roofline"
        )
    print(f"decoding on all cores: {results['decoded_per_second']:.0f} pictures/s")


if __name__ == "__main__":
    main()
