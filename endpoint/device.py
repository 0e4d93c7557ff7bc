"""The device a model is loaded on, found without importing a framework."""

import ctypes
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

# One of these files exists where a GPU is connected: in Linux, and in Windows' WSL.
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")


def find_device(wanted: str = "") -> str:
    """Return the wanted device, else "cuda" where there is a GPU, else "cpu".

    Raise SystemExit if a GPU is wanted or connected and cannot be used.
    """
    gpus, problem = (0, "") if wanted in ("cpu", "mps") else count_gpus()
    if wanted.startswith("cuda") and int(wanted[5:] or 0) >= gpus:
        found = problem or f"the number of GPUs is {gpus}"
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
