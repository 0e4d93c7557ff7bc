"""The cores that this process may use: in a container, fewer than the host has."""

import math
import os
import sys
from pathlib import Path

# In microseconds: version 2 of cgroups has both in one file, version 1 in two.
QUOTA_AND_PERIOD = ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")


def count_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores the affinity and the quota allow, rounded up."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0))
    files = [file for name in QUOTA_AND_PERIOD if (file := cgroup / name).is_file()]
    numbers = " ".join(file.read_text() for file in files).split()
    if not numbers or not numbers[0].isdigit():  # "max" and -1 are no quota.
        return cores
    return min(cores, math.ceil(int(numbers[0]) / int(numbers[1])))


def limit_threads(cores: int) -> None:
    """Set how many threads the endpoint and torch start, unless that is set already.

    Call this before they are imported. Where all cores may be used, torch's own number
    stays, which counts a core with two hardware threads once.
    """
    if cores < (os.cpu_count() or 1):
        os.environ.setdefault("PYTHON_CPU_COUNT", str(cores))
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))
