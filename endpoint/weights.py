"""A model's name to a local folder: the bundled model, a folder, the cache, the hub.

`python -m endpoint.weights` fetches the model ahead of time and prints what to serve:
its name or, where it cannot be had, demo.
"""

import ast
import os
import sys
from pathlib import Path
from typing import NamedTuple

BUNDLED = Path(__file__).parent.parent / "demo" / "model"
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


def find(default: str, revision: str) -> Checkpoint:
    """Return `ENDPOINT_MODEL`, else `default` at its pinned revision, or Unavailable.

    `ENDPOINT_MODEL` is `demo`, a folder, or a hub name with an optional `@revision`.
    """
    wanted = os.environ.get("ENDPOINT_MODEL") or f"{default}@{revision}"
    folder = BUNDLED if wanted == "demo" else Path(wanted).expanduser()
    if wanted == "demo" or folder.is_dir() or wanted[0] in "./~":
        return Checkpoint(wanted, None, _checked(folder))
    name, _, wanted_revision = wanted.partition("@")
    if not wanted_revision:
        wanted_revision = revision if name == default else "main"
    return Checkpoint(name, wanted_revision, _from_hub(name, wanted_revision))


def _checked(folder: Path) -> Path:
    """Return the folder, or say what is missing in it."""
    if not folder.is_dir():
        raise Unavailable(f"There is no folder {folder}. {WAY_OUT}")
    if not (folder / "config.json").is_file():
        raise Unavailable(f"The folder {folder} has no config.json. {WAY_OUT}")
    if not _has_weights(folder):
        raise Unavailable(
            f"The folder {folder} has no weights (.safetensors or .bin). {WAY_OUT}"
        )
    return folder


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))


def _from_hub(name: str, revision: str) -> Path:
    """Return the snapshot in the hub's cache, after downloading what is not there."""
    # Imported here, so that serving a folder needs no hub.
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
        if isinstance(cached, str) and _has_weights(Path(cached).parent):
            return Path(cached).parent
        # One question with a time limit first: a download would try an unreachable
        # hub six times and take 23 s to say so.
        files = HfApi().model_info(name, revision=revision, timeout=10).siblings or []
        safe = any(file.rfilename.endswith(".safetensors") for file in files)
        patterns = ["*.json", "*.txt", "*.model", "*.safetensors" if safe else "*.bin"]
        folder = snapshot_download(name, revision=revision, allow_patterns=patterns)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise Unavailable(
            f"The model {name} is not on this machine and the hub did not give it "
            f"({type(error).__name__}: {reason}). {WAY_OUT}"
        ) from error
    return _checked(Path(folder))


def _pinned(source: Path) -> tuple[str, str]:
    """Read CHECKPOINT and REVISION off a model file without importing torch (6 s)."""
    constants = {
        line.targets[0].id: line.value.value
        for line in ast.parse(source.read_text()).body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
    }
    return constants["CHECKPOINT"], constants["REVISION"]


if __name__ == "__main__":
    pinned = _pinned(Path(__file__).with_name("model.py"))
    try:
        find(*pinned)
        print(os.environ.get("ENDPOINT_MODEL") or "@".join(pinned))
    except Unavailable as unavailable:
        reason = str(unavailable).removesuffix(WAY_OUT)
        print(f"{reason}The bundled model, demo, takes its place.", file=sys.stderr)
        print("demo")
