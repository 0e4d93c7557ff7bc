"""The device a model is loaded on, found without importing a framework."""

import ctypes
import logging
import os

log = logging.getLogger(__name__)


def find_device(wanted: str = "") -> str:
    """Return the wanted device, else "cuda" where there is a GPU, else "cpu"."""
    gpus = 0 if wanted in ("cpu", "mps") else count_gpus()
    if wanted.startswith("cuda") and int(wanted[5:] or 0) >= gpus:
        raise SystemExit(f"ENDPOINT_DEVICE is {wanted}, but there are {gpus} GPUs.")
    if wanted:
        return wanted
    if gpus == 1:
        return "cuda"
    if gpus:  # Each of gunicorn's workers takes the next GPU.
        return f"cuda:{int(os.environ.get('GUNICORN_WORKER', 0)) % gpus}"
    log.warning("NO GPU FOUND: serving on the CPU, which is many times slower.")
    return "cpu"


def count_gpus() -> int:
    """Count the GPUs that NVIDIA's driver shows to this process, without torch."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
