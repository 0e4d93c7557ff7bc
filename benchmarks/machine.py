"""The machine of a measurement: its hardware, the versions of packages, the date."""

import os
import platform
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

PACKAGES = (
    *("torch", "transformers", "flask", "gunicorn", "pillow"),
    *("litserve", "bentoml", "mosec", "ray", "onnxruntime"),
)


def describe() -> dict:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        ),
        "gpu": query_gpu("name,driver_version"),
        "python": platform.python_version(),
        "versions": package_versions(),
    }


def cpu_name() -> str:
    """Return the model of the CPU and the instruction sets that decide its speed."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        fields = {
            key.strip(): value
            for key, _, value in (line.partition(":") for line in lines)
        }
        flags = {"avx512f", "avx512_bf16", "amx_bf16"} & set(fields["flags"].split())
        return f"{fields['model name'].strip()} ({', '.join(sorted(flags)) or 'AVX2'})"
    return platform.processor()


def query_gpu(query: str) -> str | None:
    """Return nvidia-smi's answer, None without a GPU."""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.check_output(command, text=True, timeout=20).strip() or None
    return None


def measure_busy(seconds: float = 1.0) -> float | None:
    """Return the share of the cores that all processes use, None except on Linux.

    While nothing is measured, this is how much others disturb the measurements.
    """
    with suppress(OSError):
        before = read_cpu_times()
        time.sleep(seconds)
        total, idle = (b - a for a, b in zip(before, read_cpu_times()))
        return 1 - idle / total
    return None


def read_cpu_times() -> tuple[int, int]:
    """Return the time of all cores since the start, and how much of it they idled."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    times = [int(number) for number in line.split()[1:9]]  # the last: stolen time
    return sum(times), times[3] + times[4]


def package_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
