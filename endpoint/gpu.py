"""A GPU's memory, and the errors after which a process cannot use it any more."""

import re
import sys
from functools import partial
from typing import Any

from prometheus_client import Gauge

# After one of these errors, every later CUDA call of the process fails. Most are marked
# so in NVIDIA's documentation of cudaError_t; torch has the code in `error_code`.
FATAL_CODES = {214, 220, 226, 700, 702, 709, 710, *range(714, 720), 721, 810, 911, 999}
FATAL_WORDS = re.compile(
    "device-side assert triggered|illegal memory access|illegal instruction|"
    "misaligned address|invalid program counter|hardware stack error|"
    "unspecified launch failure|launch timed out|uncorrectable|GPU is lost"
)
gpu_memory = Gauge(
    "endpoint_gpu_memory_bytes",
    "Memory of a GPU, used and total.",
    ["device", "gpu", "part"],
    multiprocess_mode="mostrecent",
)


def is_fatal(error: BaseException) -> bool:
    """Return whether this process can no longer use the GPU after an error."""
    code = getattr(error, "error_code", None)
    return code in FATAL_CODES or bool(FATAL_WORDS.search(repr(error)))


def gpu_status(device: str | None) -> dict[str, Any]:
    """Return a GPU's name, its used memory and its total memory in bytes.

    torch reports them: the dict is empty for other devices and without torch.
    """
    torch = sys.modules.get("torch")
    if torch is None or not (device or "").startswith("cuda"):
        return {}
    try:
        free, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
    except RuntimeError:
        return {"gpu": "does not answer"}
    return {"gpu": name, "gpu_memory_used": total - free, "gpu_memory": total}


def observe_gpu(device: str | None) -> None:
    """Set the metric of a GPU's memory."""
    status = gpu_status(device)
    if "gpu_memory" in status:
        labels = partial(gpu_memory.labels, device, status["gpu"])
        labels("used").set(status["gpu_memory_used"])
        labels("total").set(status["gpu_memory"])
