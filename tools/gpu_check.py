"""Check that the GPU, its driver and torch work, and measure how fast they are.

`make gpu-check` runs each kind of kernel that the captioner uses for some seconds and
compares its values with those of the CPU. Then it times the model on its example: the
bundled one, if ENDPOINT_MODEL names no other. It stops at the first problem, with a
message and exit status 1.
"""

import argparse
import math
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from endpoint.settings import read_settings
from model_helpers import weights
from model_helpers.pretrained import fast_dtype
from model_interface.loading import load_model
from model_interface.model_info import predict

ROWS, WIDTH, HEADS = 256, 512, 8
# Shares of the largest value. In float32, cuDNN convolves with 10 bits (TF32).
TOLERANCE = {torch.float32: 0.01, torch.float16: 0.02, torch.bfloat16: 0.03}
NO_DRIVER = "There is no NVIDIA driver: install one; start containers with --gpus all."
NO_GPU = "The driver shows no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES."
# What a kernel gets: activations, weights, an image, logits and positions in them.
Inputs = dict[str, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="for each kernel")
    options = parser.parse_args()
    print(describe_gpu())
    for dtype in (torch.float32, fast_dtype("cuda")):
        for name in KERNELS:
            print(check_kernel(name, "cuda", dtype, options.seconds), flush=True)
    print(check_graph("cuda"))
    try:
        for line in check_model("cuda", options.seconds):
            print(line, flush=True)
    except RuntimeError as error:
        sys.exit(f"The model fails on the GPU: {first_line(error)}")
    print("The GPU, its driver and torch are all right.")


def describe_gpu() -> str:
    """Return a line about the GPU; one that cannot be used ends the process."""
    if torch.version.cuda is None:
        sys.exit(f"torch {torch.__version__} is built without CUDA: reinstall it.")
    try:
        torch.cuda.init()
        name = torch.cuda.get_device_name()
        capability = torch.cuda.get_device_capability()
        memory = torch.cuda.mem_get_info()[1] / 1e9
    except (RuntimeError, AssertionError) as error:
        sys.exit(explain_driver(str(error)))
    kernels = torch.cuda.get_arch_list()
    if not has_kernels(capability, kernels):
        kernel, known = "sm_{}{}".format(*capability), ", ".join(kernels)
        sys.exit(f"torch has no kernel for the {name} ({kernel}), only for {known}.")
    version = f"torch {torch.__version__}"
    return f"{name}, {memory:.0f} GB, {version}, kernels for {', '.join(kernels)}"


def explain_driver(message: str) -> str:
    """Return a sentence for what torch says when CUDA does not start."""
    reason = first_line(message)
    if "no NVIDIA driver" in reason:
        return NO_DRIVER
    if "No CUDA GPUs" in reason:
        return NO_GPU
    if "too old" in reason:
        found = reason.partition("found version ")[2].partition(")")[0]
        newest = f"{int(found) // 1000}.{int(found) % 1000 // 10}"  # 12080: 12.8
        needed = f"torch {torch.__version__} needs {torch.version.cuda}"
        return f"The driver is too old: it has CUDA {newest}, {needed}."
    numbered = re.search(r"Error \d+: .*", reason)
    error = numbered[0] if numbered else reason.partition(" - ")[0]
    return f"There is a driver, but CUDA does not start: {error.rstrip('.')}."


def has_kernels(capability: tuple[int, int], architectures: list[str]) -> bool:
    """Return whether a GPU runs any of the kernels that torch was built with.

    Kernels like sm_86 run on GPUs of the same first digit and an equal or higher second
    one; those like compute_90 are compiled for any newer GPU.
    """
    major, minor = capability
    for each in architectures:
        kind, _, digits = each.partition("_")
        digits = "".join(filter(str.isdigit, digits))
        version = int(digits[:-1]), int(digits[-1])
        if kind == "compute" and version <= capability:
            return True
        if version[0] == major and version[1] <= minor:
            return True
    return False


def make_inputs() -> Inputs:
    """Return inputs from a seed, in float32 on the CPU."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "hidden": normal(4, ROWS, WIDTH),
        "weight": normal(WIDTH, WIDTH) / math.sqrt(WIDTH),
        "image": normal(4, 3, 224, 224),
        "patches": normal(WIDTH, 3, 16, 16) / math.sqrt(3 * 16 * 16),
        "logits": normal(16, 50_000),
        "positions": torch.randint(50_000, (16, 64), generator=generator),
    }


def attend(inputs: Inputs, is_masked: bool = False) -> Tensor:
    heads = inputs["hidden"].unflatten(-1, (HEADS, -1)).transpose(1, 2)
    mask = heads.new_full((ROWS, ROWS), -math.inf).triu(1) if is_masked else None
    return F.scaled_dot_product_attention(heads, heads, heads, mask)


KERNELS: dict[str, Callable[[Inputs], Tensor]] = {
    "convolution": lambda x: F.conv2d(x["image"], x["patches"], stride=16),
    "layer norm": lambda x: F.layer_norm(x["hidden"], (WIDTH,)),
    "matrix product": lambda x: F.linear(x["hidden"], x["weight"]),
    "exact GELU": lambda x: F.gelu(x["hidden"]),
    "tanh GELU": lambda x: F.gelu(x["hidden"], approximate="tanh"),
    "attention": attend,
    "masked attention": partial(attend, is_masked=True),
    "log softmax": lambda x: F.log_softmax(x["logits"], -1, dtype=torch.float32),
    "top k": lambda x: x["logits"].topk(8).values,
    "gather": lambda x: x["logits"].take_along_dim(x["positions"], 1),
    "embedding": lambda x: F.embedding(x["positions"][0] % WIDTH, x["weight"]),
}


def convert(inputs: Inputs, device: str, dtype: torch.dtype) -> Inputs:
    return {
        name: each.to(device, dtype if each.is_floating_point() else None)
        for name, each in inputs.items()
    }


def check_kernel(name: str, device: str, dtype: torch.dtype, seconds: float) -> str:
    """Run a kernel for some seconds; return how much it differs from the CPU."""
    label = f"{name}, {str(dtype).removeprefix('torch.')}"
    try:
        calls, difference = compare(KERNELS[name], device, dtype, seconds)
    except RuntimeError as error:
        sys.exit(f"A kernel fails: {label}: {first_line(error)}")
    if not difference <= TOLERANCE[dtype]:  # also NaN
        limit = f"at most {TOLERANCE[dtype]:.0%} of the largest one are allowed"
        sys.exit(f"Values differ from the CPU's: {label} by {difference:.1%}; {limit}.")
    return f"{label}: {calls:,} calls, at most {difference:.2%} from the CPU's values"


@torch.inference_mode()
def compare(
    kernel: Callable[[Inputs], Tensor], device: str, dtype: torch.dtype, seconds: float
) -> tuple[int, float]:
    """Return how often a kernel ran, and its largest difference from the CPU.

    The difference is a share of the largest value. The CPU computes in float32.
    """
    rounded = convert(make_inputs(), "cpu", dtype)
    expected = kernel(convert(rounded, "cpu", torch.float32))
    inputs, worst, calls = convert(rounded, device, dtype), torch.zeros(()), 0
    deadline = time.monotonic() + seconds
    while not calls or time.monotonic() < deadline:
        found = kernel(inputs).to("cpu", torch.float32)  # A faulty GPU may miscompare.
        worst = torch.maximum(worst, (found - expected).abs().max())
        calls += 1
    return calls, float(worst / expected.abs().max())


@torch.inference_mode()
def check_graph(device: str) -> str:
    """Capture a kernel as a CUDA graph and replay it with other inputs."""
    inputs = convert(make_inputs(), device, torch.float32)
    kernel, graph = KERNELS["matrix product"], torch.cuda.CUDAGraph()
    try:
        kernel(inputs)  # CUDA loads it at its first use, which must not be captured.
        with torch.cuda.graph(graph):
            output = kernel(inputs)
        inputs["hidden"].neg_()
        graph.replay()
        is_same = torch.equal(output.cpu(), kernel(inputs).cpu())
    except RuntimeError as error:
        sys.exit(f"A CUDA graph fails: {first_line(error)}")
    if not is_same:
        sys.exit("Values differ: a CUDA graph and the kernel in it.")
    return "CUDA graph: the same values as its kernel"


def first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0]


def check_model(device: str, seconds: float) -> Iterator[str]:
    """Time the model on its example, and compare its answer with the CPU's."""
    if weights.BUNDLED.exists():
        os.environ.setdefault("ENDPOINT_MODEL", "demo")
    module, answers = read_settings().module, []
    for each in (device, "cpu"):
        model, info = load_model(module, each)
        if not info.example:
            return
        inputs = [model.decode(info.example[0])]
        answers.append(model.encode(predict(model, inputs)[0]))
        for size in sorted({1, info.max_batch}) if len(answers) == 1 else ():
            took = median_seconds(partial(predict, model, inputs * size), seconds)
            rate = f"{1000 * took:.1f} ms, {size / took:,.0f} a second"
            yield f"{info.version}, {size} at once: {rate}"
    if answers[0] != answers[1]:
        both = " and ".join(str(answer)[:100] for answer in answers)
        if os.environ.get("ENDPOINT_MODEL") == "demo":  # Rounding cannot change it.
            sys.exit(f"Values differ: the captions on the GPU and on the CPU: {both}")
        yield f"The answers on the GPU and on the CPU differ: {both}"


def median_seconds(function: Callable[[], object], seconds: float) -> float:
    """Call for some seconds, at least three times."""
    times: list[float] = []
    deadline = time.monotonic() + seconds
    while len(times) < 3 or time.monotonic() < deadline:
        started = time.monotonic()
        function()
        times.append(time.monotonic() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
