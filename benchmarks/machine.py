"""What a measurement ran on: hardware, versions, date; and a process's memory."""

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
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        ),
        "gpu": graphics("name,driver_version"),
        "python": platform.python_version(),
        "versions": versions(),
    }


def processor() -> str:
    """Return the model of the CPU with the instructions that decide its speed."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        fields = {
            key.strip(): value
            for key, _, value in (line.partition(":") for line in lines)
        }
        flags = {"avx512f", "avx512_bf16", "amx_bf16"} & set(fields["flags"].split())
        return f"{fields['model name'].strip()} ({', '.join(sorted(flags)) or 'AVX2'})"
    return platform.processor()


def graphics(query: str) -> str | None:
    """Return what nvidia-smi tells, None without a GPU."""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.check_output(command, text=True, timeout=20).strip() or None
    return None


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def resident(process: int) -> float:
    """Return a process's resident memory in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
