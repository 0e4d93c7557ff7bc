"""A model's name to a local folder: a folder, a volume's cache, else the hub.

`python -m endpoint.weights` fetches the model ahead of time and prints what to serve:
its name or, where it cannot be had, demo.
"""

import ast
import contextlib
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

BUNDLED = Path(__file__).parent.parent / "demo" / "model"
ORIGIN = "origin"  # the file in a baked folder that holds its name@revision
# Looked through after the hub's own cache, HF_HOME, and never written to: where Runpod
# puts models beside a worker, and what HF_HOME=/workspace leaves on a pod's volume.
VOLUMES = ("/runpod-volume/huggingface-cache/hub", "/workspace/hub")
OFFLINE = os.environ.get("HF_HUB_OFFLINE", "0").lower() not in ("0", "", "false", "no")
WAY_OUT = (
    "Set ENDPOINT_MODEL to a folder that holds the model, or to demo for the small "
    "model that ships with this repository."
)


class Checkpoint(NamedTuple):
    """A model on disk; `revision` is None for a plain folder."""

    name: str
    revision: str | None
    folder: Path


class Unavailable(SystemExit):
    """The weights cannot be had; it ends a process with its sentence alone."""


def find(default: str, revision: str | None = None) -> Checkpoint:
    """Return `ENDPOINT_MODEL`, else `default` at its pinned revision, or Unavailable.

    `ENDPOINT_MODEL` is `demo`, a folder, or a hub name with an optional `@revision`.
    """
    pinned = f"{default}@{revision}" if revision else default
    wanted = os.environ.get("ENDPOINT_MODEL") or pinned
    folder = BUNDLED if wanted == "demo" else Path(wanted).expanduser()
    if wanted == "demo" or folder.is_dir() or wanted[0] in "./~":
        if fault := _fault(folder):
            raise Unavailable(f"{fault} {WAY_OUT}")
        origin = folder / ORIGIN
        name = origin.read_text().strip() if origin.is_file() else wanted
        return Checkpoint(*_split(name), folder)
    name, wanted_revision = _split(wanted)
    if not wanted_revision:
        wanted_revision = revision if name == default else "main"
    return Checkpoint(name, wanted_revision, _from_hub(name, wanted_revision))


def files(folder: Path) -> list[Path]:
    """Return the weights in a folder, the safe kind where it has both."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def _split(name: str) -> tuple[str, str | None]:
    name, _, revision = name.partition("@")
    return name, revision or None


def _fault(folder: Path) -> str:
    """Tell in a sentence why the folder is no model; "" where it is one."""
    if not folder.is_dir():
        return f"There is no folder {folder}."
    if not (folder / "config.json").is_file():
        for below in (*folder.glob("*/config.json"), *folder.glob("*/*/config.json")):
            return f"The model is not in {folder} itself: name {below.parent}."
        return f"The folder {folder} has no config.json."
    if not files(folder):
        return f"The folder {folder} has no weights (.safetensors or .bin)."
    if lacking := _lacking(folder):
        return f"The model in {folder} is partial, {lacking}: fetch it anew."
    return ""


def _lacking(folder: Path) -> str:
    """Name the file of weights that is missing or cut off, if there is one."""
    for index in folder.glob(f"*{files(folder)[0].suffix}.index.json"):
        for name in sorted(set(json.loads(index.read_text())["weight_map"].values())):
            if not (folder / name).is_file():
                return f"{name} is missing"
    broken = (file.name for file in files(folder) if not _is_whole(file))
    return next((f"{name} is cut off or a mere pointer" for name in broken), "")


def _is_whole(file: Path) -> bool:
    """Tell whether the file is as long as its own table of contents says."""
    with file.open("rb") as stream, contextlib.suppress(ValueError):
        if file.suffix == ".bin":  # A zip, or the bare pickle of older times.
            return stream.read(1) == b"\x80" or zipfile.is_zipfile(stream)
        size = int.from_bytes(stream.read(8), "little")
        table = json.loads(stream.read(size)) if size < file.stat().st_size else {}
        table.pop("__metadata__", None)
        ends = [tensor["data_offsets"][1] for tensor in table.values()]
        return file.stat().st_size == 8 + size + max(ends, default=-1)
    return False


def _from_hub(name: str, revision: str) -> Path:
    """Return the snapshot in a cache, else download it into the hub's own."""
    # Imported here, so that serving a folder needs no hub.
    from huggingface_hub import constants, try_to_load_from_cache

    faults = []
    for cache in (constants.HF_HUB_CACHE, *VOLUMES):
        cached = try_to_load_from_cache(name, "config.json", cache, revision)
        if isinstance(cached, str):
            folder = Path(cached).parent
            if not (fault := _fault(folder)):
                # What is here whole needs no more questions to the hub.
                os.environ["HF_HUB_OFFLINE"], constants.HF_HUB_OFFLINE = "1", True
                return folder
            faults.append(fault)
    try:
        return _download(name, revision)
    except Exception as error:
        raise Unavailable(_why(name, error, faults)) from error


def _download(name: str, revision: str) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download

    constants.HF_HUB_OFFLINE = OFFLINE
    # One question with a time limit first: a download would try an unreachable hub
    # six times and take 23 s to say so.
    found = HfApi().model_info(name, revision=revision, timeout=10).siblings or []
    safe = any(file.rfilename.endswith(".safetensors") for file in found)
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors" if safe else "*.bin"]
    folder = Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    if fault := _fault(folder):
        raise ValueError(fault)
    return folder


def _why(name: str, error: Exception, faults: list[str]) -> str:
    reason = str(error).strip().partition("\n")[0]
    if "No space left" in reason:
        return f"The disk is full: {name} needs more room where HF_HOME points to."
    here = faults[0] if faults else f"The model {name} is not on this machine."
    failure = f"{type(error).__name__}: {reason}"
    return f"{here} The hub did not give it ({failure}). {WAY_OUT}"


def pinned(source: Path) -> tuple[str, str]:
    """Read CHECKPOINT and REVISION off a model file without importing torch (6 s)."""
    constants = {
        line.targets[0].id: line.value.value
        for line in ast.parse(source.read_text()).body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
    }
    return constants["CHECKPOINT"], constants["REVISION"]


if __name__ == "__main__":
    wanted = pinned(Path(__file__).with_name("model.py"))
    try:
        find(*wanted)
        print(os.environ.get("ENDPOINT_MODEL") or "@".join(wanted))
    except Unavailable as unavailable:
        reason = str(unavailable).removesuffix(WAY_OUT)
        print(f"{reason}The bundled model, demo, takes its place.", file=sys.stderr)
        print("demo")
