"""A device to the number type in which transformers' `generate` is fast on it."""

import torch


def fast_dtype(device: str) -> torch.dtype:
    """Return bfloat16 for a GPU, float16 for one before Ampere, else float32.

    Half of the bytes are read for each token. Older GPUs and most CPUs compute bfloat16
    several times slower than float32.
    """
    if not device.startswith("cuda"):
        return torch.float32
    is_native = torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if is_native else torch.float16
