"""`flask bake`: a checkpoint of the hub's to a folder that loads fast and safely."""

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext

from endpoint import weights

SMALL_FILES = ("*.json", "*.txt", "*.model")  # configuration, vocabulary
DTYPES = ("bfloat16", "float16", "float32")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--model", help="What to bake, if not ENDPOINT_MODEL.")
@click.option("--dtype", type=click.Choice(DTYPES), default=DTYPES[0])
@with_appcontext
def bake(folder: Path, model: str | None, dtype: str) -> None:
    """Write the model to a new FOLDER, from which ENDPOINT_MODEL=FOLDER serves it.

    The weights become one safetensors file without pickle, in bfloat16 half as large.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise click.ClickException(f"{folder} is not empty: name a new folder.")
    if model:
        os.environ["ENDPOINT_MODEL"] = model
    name, revision, source = weights.find(*_pinned(current_app.config["APP"]))
    shown = f"{name}@{revision}" if revision else name
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    # Beside its destination, so that it appears there whole or not at all.
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent) as temporary:
        baked = Path(temporary) / "baked"
        baked.mkdir()
        size = _weights(source, baked / "model.safetensors", dtype)
        for file in [path for form in SMALL_FILES for path in source.glob(form)]:
            if not file.name.endswith(".index.json"):  # of weights in several files
                shutil.copyfile(file, baked / file.name)
        _note(baked / "config.json", dtype)
        if Path(name).resolve() != source.resolve():  # A folder's own name says less.
            (baked / weights.ORIGIN).write_text(f"{shown}\n")
        for file in baked.iterdir():
            file.chmod(0o644)  # A container's user is rarely their owner.
        baked.chmod(0o755)
        baked.rename(folder)
    click.echo(f"Baked {shown} into {folder}: {size / 1e6:.1f} MB of {dtype} weights.")


def _pinned(module: str) -> tuple[str, str]:
    """Return what a model file names as its checkpoint and revision."""
    spec = importlib.util.find_spec(module)
    try:
        return weights.pinned(Path(spec.origin))
    except (AttributeError, KeyError):
        if os.environ.get("ENDPOINT_MODEL"):
            return "", ""  # Nothing hangs on them.
        sentence = f"{module} names no CHECKPOINT and REVISION to bake."
        raise click.ClickException(sentence) from None


def _weights(source: Path, target: Path, dtype: str) -> int:
    """Write all tensors into one file and return its size in bytes."""
    # Imported here: other commands need no torch, which takes seconds.
    import torch
    from safetensors.torch import load_file, save_file

    tensors: dict[str, torch.Tensor] = {}
    for file in weights.files(source):
        if file.suffix == ".safetensors":
            tensors |= load_file(file)
        else:
            tensors |= torch.load(file, "cpu", weights_only=True, mmap=True)
    kept = {}
    for name, tensor in tensors.items():
        if not (_is_legacy(name, tensor) or _is_tied(name, tensors)):
            floats = tensor.is_floating_point()
            kept[name] = tensor.to(getattr(torch, dtype)) if floats else tensor.clone()
    contiguous = {name: tensor.contiguous() for name, tensor in kept.items()}
    save_file(contiguous, target, metadata={"format": "pt"})
    return target.stat().st_size


def _is_legacy(name: str, tensor) -> bool:
    """Tell the masks that old checkpoints of GPT-2 carry; no model reads them now."""
    masks = (".attn.bias", ".crossattention.bias", ".masked_bias")
    return name.endswith(masks) and tensor.ndim in (0, 4)


def _is_tied(name: str, tensors: dict) -> bool:
    """Tell a head that repeats the embeddings; it is tied to them on loading."""
    embeddings = name.replace("lm_head.weight", "transformer.wte.weight")
    if embeddings == name or embeddings not in tensors:
        return False
    return tensors[name].equal(tensors[embeddings])


def _note(config: Path, dtype: str) -> None:
    """Write the weights' type into the configuration."""
    values = json.loads(config.read_text())
    values["torch_dtype" if "torch_dtype" in values else "dtype"] = dtype
    config.write_text(json.dumps(values, indent=2) + "\n")
