"""Whether there is a GPU here, and whether it computes values."""

import pytest
import torch


def gpu_problem() -> str:
    """Return why no values can be computed on a GPU here, or ""."""
    if not torch.cuda.is_available():
        return "there is no GPU"
    computes = torch.ones(3, device="cuda").sum().item() == 3
    return "" if computes else "the GPU is a stub, which computes no values"


PROBLEM = gpu_problem()
NEEDS_GPU = pytest.mark.skipif(bool(PROBLEM), reason=PROBLEM)
# For tests that use a GPU if there is one.
SKIP_STUB = pytest.mark.skipif("stub" in PROBLEM, reason=PROBLEM)
