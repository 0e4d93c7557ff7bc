"""A model's name to a local folder with its weights."""

import json
import os
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from endpoint.settings import read_settings

BUNDLED = Path(__file__).parent.parent / "demo" / "model"
ORIGIN = "origin"  # a file in a baked folder that holds the model's name@revision
# Read after HF_HOME, never written: Runpod's cached models, and a pod's own volume.
EXTRA_CACHES = ("/runpod-volume/huggingface-cache/hub", "/workspace/hub")
PARTS = "[0-9]_*/*.bin"  # 2_Dense/ of sentence-transformers may have no safetensors
SMALL_FILES = "*.json *.txt *.model *.jinja *.py *.spm *.tiktoken *.bpe *.codes".split()
HINT = "Set ENDPOINT_MODEL to a folder with the model, or to demo, the bundled model."


class Checkpoint(NamedTuple):
    """A model on disk; `revision` is None for a plain folder."""

    name: str
    revision: str | None
    folder: Path


class ModelUnavailable(SystemExit):
    """The weights are unavailable; the process ends with this sentence."""


def resolve(default: str, revision: str | None = None) -> Checkpoint:
    """Return `ENDPOINT_MODEL` (demo, a folder or a hub name, with or without a
    revision), else `default` at its pinned revision; or raise ModelUnavailable.
    """
    wanted = read_settings().model or "@".join(filter(None, (default, revision)))
    folder = BUNDLED if wanted == "demo" else Path(os.path.expanduser(wanted))
    if wanted == "demo" or os.path.isdir(folder) or wanted[0] in "./~":
        if problem := validate(folder):
            raise ModelUnavailable(f"{problem} {HINT}")
        name, origin = os.path.basename(os.path.abspath(wanted)), folder / ORIGIN
        name = origin.read_text().strip() if origin.is_file() else name
        name, _, commit = name.partition("@")
        return Checkpoint(name, commit or None, folder)
    name, _, commit = wanted.partition("@")
    commit = commit or (revision if name == default else None) or "main"
    return Checkpoint(name, commit, _from_hub(name, commit))


def weight_files(folder: Path) -> list[Path]:
    """Return the files of weights in a folder, safetensors where it has both kinds."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def validate(folder: Path) -> str:
    """Return what is wrong with a model's folder as a sentence, "" if nothing is."""
    if not os.path.isdir(folder):
        return f"There is no folder {folder}."
    if not os.path.isfile(folder / "config.json"):
        for below in (*folder.glob("*/config.json"), *folder.glob("*/*/config.json")):
            return f"The model is not in {folder} itself but in {below.parent}."
        return f"The folder {folder} has no config.json."
    files = weight_files(folder)
    if not files:
        return f"The folder {folder} has no weights (.safetensors or .bin)."
    for index in folder.glob(f"*{files[0].suffix}.index.json"):
        shards = json.loads(index.read_text())["weight_map"].values()
        files = sorted({folder / name for name in shards})
    for file in files:
        if problem := _problem_of(file):
            return f"The model in {folder} is incomplete: {file.name} {problem}."
    return ""


def _problem_of(file: Path) -> str:
    """Return "is missing" or the like for a file of weights, "" for a complete one."""
    from safetensors import SafetensorError, safe_open  # not all models need it

    if not file.is_file():
        return "is missing"
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "numpy"):  # compares the header with the file's length
                return ""
        with file.open("rb") as stream:  # a zip file, or the pickle of old versions
            if stream.read(1) == b"\x80" or zipfile.is_zipfile(stream):
                return ""
    except (SafetensorError, OSError):
        pass
    return "is truncated or a Git LFS pointer"


def _from_hub(name: str, revision: str) -> Path:
    """Return a complete snapshot from a cache, else download one."""
    from huggingface_hub import HfApi, snapshot_download  # not for a local folder
    from huggingface_hub.errors import LocalEntryNotFoundError

    download: Any = partial(snapshot_download, name, revision=revision)
    problem = f"The model {name} is not on this machine."
    try:
        for cache in (None, *EXTRA_CACHES):
            with suppress(LocalEntryNotFoundError):
                folder = Path(download(cache_dir=cache, local_files_only=True))
                if not (problem := validate(folder)):
                    return folder
        # With a timeout: snapshot_download retries an unreachable hub for 23 s.
        found = HfApi().model_info(name, revision=revision, timeout=10).siblings or []
        is_safe = any(file.rfilename.endswith(".safetensors") for file in found)
        formats = ("*.safetensors", PARTS) if is_safe else ("*.bin",)
        folder = Path(download(allow_patterns=[*SMALL_FILES, *formats]))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        failure = f"Download failed ({type(error).__name__}: {reason})."
        raise ModelUnavailable(f"{problem} {failure} {HINT}") from error
    if problem := validate(folder):
        raise ModelUnavailable(f"{problem} {HINT}")
    return folder
