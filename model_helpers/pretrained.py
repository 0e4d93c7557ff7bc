"""Load a folder of weights onto a device, in the dtype that is fastest there.

Only models that use torch and transformers need this file.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from model_helpers.weights import ModelUnavailable

CPUINFO = Path("/proc/cpuinfo")


def fast_dtype(device: str) -> Any:
    """Return bfloat16 if the hardware can multiply it, else float16 or float32."""
    import torch  # takes a second; not all models need it

    if device.startswith("cuda"):
        # The GPUs before 8.0 that torch supports are made for float16.
        is_native = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if is_native else torch.float16
    # torch has no public function for this.
    flags = CPUINFO.read_text().split() if CPUINFO.exists() else []
    is_native = "avx512_bf16" in flags or "amx_bf16" in flags
    return torch.bfloat16 if is_native else torch.float32


def load_network(
    network_class: Any, folder: Path, device: str, dtype: Any = "auto"
) -> Any:
    """Return a transformers network; raise ModelUnavailable if weights are broken."""
    from transformers.utils import logging  # not all models need it

    logging.disable_progress_bar()  # Loading takes seconds only.
    logging.set_verbosity_error()  # The report is checked below.
    network, report = network_class.from_pretrained(
        folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
    )
    network = network.eval().to(device)
    floats = [(n, w) for n, w in network.state_dict().items() if w.is_floating_point()]
    problems = {
        "no weights": report["missing_keys"],
        "weights of another shape": [name for name, *_ in report["mismatched_keys"]],
        "weights that are not finite": [n for n, w in floats if not is_finite(w)],
    }
    for problem, names in problems.items():
        if names:
            problem += f" for {shorten(names)}"
            raise ModelUnavailable(f"The model in {folder} has {problem}.")
    return network


def is_finite(weights: Any) -> bool:
    # A finite sum proves that all are finite, and is 12 times faster; it may overflow.
    return bool(weights.sum().isfinite()) or bool(weights.isfinite().all())


def shorten(names: Collection[str]) -> str:
    """Return three names and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(sorted(names)[:3]) + more
