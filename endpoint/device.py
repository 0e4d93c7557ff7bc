"""The device a model is loaded on, and the errors after which a GPU cannot be used.

No framework is imported here: the model's own may be another one than torch.
"""

import ctypes
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# One of these files exists where a GPU is connected: in Linux, and in Windows' WSL.
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")
# After one of these errors, every later CUDA call of the process fails. Most are marked
# so in NVIDIA's documentation of cudaError_t; torch has the code in `error_code`.
FATAL_CODES = {214, 220, 226, 700, 702, 709, 710, *range(714, 720), 721, 810, 911, 999}
FATAL_WORDS = re.compile(
    "device-side assert triggered|illegal memory access|illegal instruction|"
    "misaligned address|invalid program counter|hardware stack error|"
    "unspecified launch failure|launch timed out|uncorrectable|GPU is lost"
)


def find_device(wanted: str = "") -> str:
    """Return the wanted device, else "cuda" where there is a GPU, else "cpu".

    A GPU that is wanted or connected, and cannot be used, is a SystemExit.
    """
    gpus, problem = (0, "") if wanted in ("cpu", "mps") else count_gpus()
    if wanted.startswith("cuda") and int(wanted[5:] or 0) >= gpus:
        found = problem or f"{gpus} GPUs were found"
        raise SystemExit(f"ENDPOINT_DEVICE is {wanted}, but {found}.")
    if wanted:
        return wanted
    if problem and is_gpu_connected():
        advice = "ENDPOINT_DEVICE=cpu serves without it"
        raise SystemExit(f"There is a GPU, but {problem}; {advice}.")
    if gpus == 1:
        return "cuda"
    if gpus:  # Each of gunicorn's workers takes the next GPU.
        return f"cuda:{int(os.environ.get('GUNICORN_WORKER', 0)) % gpus}"
    log.warning("NO GPU FOUND: serving on the CPU, which is many times slower.")
    return "cpu"


def count_gpus() -> tuple[int, str]:
    """Return how many GPUs NVIDIA's driver shows, and its problem or ""."""
    count, words = ctypes.c_int(), ctypes.c_char_p()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return 0, f"NVIDIA's driver cannot be loaded ({error})"
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if not code:
        return count.value, ""
    driver.cuGetErrorString(code, ctypes.byref(words))
    text = (words.value or b"unknown").decode()
    return 0, f"NVIDIA's driver cannot use it: error {code}, {text}"


def is_gpu_connected() -> bool:
    """Return whether there is a GPU that CUDA_VISIBLE_DEVICES does not hide."""
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not is_hidden and any(Path(file).exists() for file in GPU_FILES)


def is_fatal(error: BaseException) -> bool:
    """Return whether this process can no longer use the GPU after an error."""
    code = getattr(error, "error_code", None)
    return code in FATAL_CODES or bool(FATAL_WORDS.search(repr(error)))


def gpu_status(device: str | None) -> dict[str, Any]:
    """Return a GPU's name, and its memory in use and in all in bytes, as torch knows.

    It is empty for other devices, and for models that do not use torch.
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
