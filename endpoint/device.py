"""The device a model is loaded on, found without importing a framework."""

import ctypes
import logging
import os

log = logging.getLogger(__name__)


def find(wanted: str | None = None) -> str:
    """Return the wanted device, else "cuda" where a GPU answers, else "cpu"."""
    if wanted:
        return wanted
    gpus = _gpus()
    if gpus == 1:
        return "cuda"
    if gpus:  # Each of gunicorn's workers takes the next one.
        return f"cuda:{int(os.environ.get('GUNICORN_WORKER', 0)) % gpus}"
    log.warning("NO GPU FOUND: serving on the CPU, which is many times slower.")
    return "cpu"


def _gpus() -> int:
    """Count the GPUs that NVIDIA's driver shows to this process.

    The driver itself is asked, because a model may run without torch, and because
    `CUDA_VISIBLE_DEVICES` and containers hide GPUs that `/dev` still shows.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
