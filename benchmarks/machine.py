"""The machine of a measurement: its hardware, the versions of packages, the date."""

import os
import platform
import subprocess
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


def package_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
