"""`flask bake`: a checkpoint to a folder with its weights in one safetensors file."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import with_appcontext

from endpoint import weights
from endpoint.settings import read_settings
from tools.prefetch import pinned_checkpoint

if TYPE_CHECKING:
    import torch

DTYPES = ("bfloat16", "float16", "float32")
# Weights, also in the formats of other libraries, and what a training leaves behind.
NOT_COPIED = (
    "*.safetensors *.bin *.index.json *.ckpt *.gguf *.h5 *.msgpack *.onnx *.onnx_data "
    "*.ot *.pb *.pt *.pth *.tflite checkpoint-* .*"
).split()
LEGACY_MASKS = (".attn.bias", ".crossattention.bias", ".masked_bias")  # of GPT-2


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--model", help="Model to write. Default: ENDPOINT_MODEL.")
@click.option(
    "--dtype", type=click.Choice(DTYPES), default=DTYPES[0], show_default=True
)
@with_appcontext
def bake(folder: Path, model: str | None, dtype: str) -> None:
    """Write a model to a new folder, for an image or a volume.

    ENDPOINT_MODEL=FOLDER serves it. Its weights are one safetensors file, without
    pickle; as bfloat16 they take half the space of float32.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise click.ClickException(f"{folder} is not empty: name a new folder.")
    if model:
        os.environ["ENDPOINT_MODEL"] = model
    name, revision, source = resolve_checkpoint(current_app.config["MODULE"])
    version = f"{name}@{revision}" if revision else name
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    # On the same disk, so that the folder appears complete or not at all.
    with tempfile.TemporaryDirectory(prefix=".bake-", dir=parent) as temporary:
        baked = Path(temporary) / "baked"
        size = write_folder(source, baked, dtype)
        (baked / weights.ORIGIN).write_text(f"{version}\n")
        make_readable(baked)
        baked.rename(folder)
    click.echo(
        f"Baked {version} into {folder}: {size / 1e6:.1f} MB of {dtype} weights."
    )


def resolve_checkpoint(module: str) -> weights.Checkpoint:
    """Return what ENDPOINT_MODEL names, else what the model file pins."""
    pinned = pinned_checkpoint(module)
    if pinned is None and not read_settings().model:
        problem = f"{module} has no CHECKPOINT: name a model with --model."
        raise click.ClickException(problem)
    return weights.resolve(*(pinned or ("", None)))


def write_folder(source: Path, target: Path, dtype: str) -> int:
    """Write a checkpoint to a new folder and return the size of its weights in bytes.

    A subfolder with its own configuration and weights is a part of the model, such as
    2_Dense/ of sentence-transformers, and becomes one file as well.
    """
    ignore = shutil.ignore_patterns(*NOT_COPIED)
    shutil.copytree(source, target, ignore=ignore, copy_function=shutil.copyfile)
    size = 0
    for config in target.rglob("config.json"):
        part = source / config.parent.relative_to(target)
        if files := weights.weight_files(part):
            file = config.with_name("model.safetensors")
            write_weights(read_weights(files), file, dtype)
            size += file.stat().st_size
    set_dtype(target / "config.json", dtype)
    return size


def read_weights(files: list[Path]) -> "dict[str, torch.Tensor]":
    """Return the tensors of all files by name, without what no model reads."""
    # Imported here: torch takes seconds, which `flask --help` should not.
    import torch
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            if file.suffix == ".safetensors":
                tensors |= load_file(file)
            else:
                tensors |= torch.load(file, "cpu", weights_only=True, mmap=True)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            problem = f"{file} cannot be read as weights: {reason}"
            raise click.ClickException(problem) from None
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not (is_legacy_mask(name, tensor) or is_tied_head(name, tensors))
    }


def is_legacy_mask(name: str, tensor: "torch.Tensor") -> bool:
    """Recognize the masks in old checkpoints of GPT-2; today's code computes them."""
    return name.endswith(LEGACY_MASKS) and tensor.ndim in (0, 4)


def is_tied_head(name: str, tensors: "dict[str, torch.Tensor]") -> bool:
    """Recognize a copy of the embeddings, which the head shares once it is loaded."""
    wte = name.replace("lm_head.weight", "transformer.wte.weight")
    return wte != name and wte in tensors and tensors[name].equal(tensors[wte])


def write_weights(tensors: "dict[str, torch.Tensor]", file: Path, dtype: str) -> None:
    """Write tensors with floating-point numbers as `dtype`; refuse NaN and infinity."""
    import torch
    from safetensors.torch import save_file

    not_finite = []
    for name, tensor in tensors.items():
        is_float = tensor.is_floating_point()
        wanted = getattr(torch, dtype) if is_float else tensor.dtype
        # A copy, because safetensors refuses tensors that share memory.
        tensors[name] = tensor.to(wanted, copy=True).contiguous()
        if is_float and not torch.isfinite(tensors[name]).all():
            not_finite.append(name)
    if not_finite:
        names = weights.shorten(not_finite)
        raise click.ClickException(
            f"The model has weights that are not finite in {dtype}: {names}."
        )
    save_file(tensors, file, metadata={"format": "pt"})


def set_dtype(config: Path, dtype: str) -> None:
    """Write the type of the weights into the configuration."""
    values = json.loads(config.read_text())
    values["torch_dtype" if "torch_dtype" in values else "dtype"] = dtype
    config.write_text(json.dumps(values, indent=2) + "\n")


def make_readable(folder: Path) -> None:
    """Let everybody read: the user of a container is rarely the files' owner."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
