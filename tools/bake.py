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

from endpoint.settings import read_settings
from model_helpers import weights
from model_helpers.pretrained import shorten
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
@click.option(
    "--model",
    help="Model to write. Default: ENDPOINT_MODEL, else the model file's own.",
)
@click.option(
    "--dtype", type=click.Choice(DTYPES), default=DTYPES[0], show_default=True
)
@with_appcontext
def bake(folder: Path, model: str | None, dtype: str) -> None:
    """Write a model to a new folder, for a container image or a volume.

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
    """Return what ENDPOINT_MODEL names, else what the model file pins.

    A folder may be in the style of another library, which `weights.resolve` refuses.
    """
    model = read_settings().model
    folder = Path(os.path.expanduser(model))
    if model and is_other_style(folder):
        return weights.Checkpoint(Path(os.path.abspath(folder)).name, None, folder)
    pinned = pinned_checkpoint(module)
    if pinned is None and not model:
        problem = f"{module} names no model itself: name one with --model."
        raise click.ClickException(problem)
    return weights.resolve(*(pinned or ("", None)))


def is_other_style(folder: Path) -> bool:
    """Recognize weights without config.json, or in parts (sentence-transformers)."""
    if (folder / "config.json").is_file():
        return False
    is_in_parts = (folder / "modules.json").is_file()
    return any(folder.glob("*/*.safetensors" if is_in_parts else "*.safetensors"))


def write_folder(source: Path, target: Path, dtype: str) -> int:
    """Write a checkpoint to a new folder and return the size of its weights in bytes.

    A subfolder with weights is a part of the model, such as 2_Dense/ of
    sentence-transformers, and has one file of weights as well.
    """
    ignore = shutil.ignore_patterns(*NOT_COPIED)
    shutil.copytree(source, target, ignore=ignore, copy_function=shutil.copyfile)
    size = 0
    for folder in [target, *filter(Path.is_dir, target.rglob("*"))]:
        if files := part_files(source / folder.relative_to(target)):
            file = folder / baked_name(files)
            write_weights(read_weights(files), file, dtype)
            size += file.stat().st_size
    set_dtype(target / "config.json", dtype)
    return size


def part_files(folder: Path) -> list[Path]:
    """Return a folder's weights; .bin files without config.json are something else."""
    files = weights.weight_files(folder)
    is_bin = bool(files) and files[0].suffix == ".bin"
    return [] if is_bin and not (folder / "config.json").is_file() else files


def baked_name(files: list[Path]) -> str:
    """Return the name of the one new file: that of a single old one, which its library
    may expect, such as open_clip_model.safetensors.
    """
    [first, *more] = files
    is_shard = any(first.parent.glob("*.safetensors.index.json"))
    is_kept = first.suffix == ".safetensors" and not (more or is_shard)
    return first.name if is_kept else "model.safetensors"


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
        names = shorten(not_finite)
        raise click.ClickException(
            f"The model has weights that are not finite in {dtype}: {names}."
        )
    save_file(tensors, file, metadata={"format": "pt"})


def set_dtype(config: Path, dtype: str) -> None:
    """Write the type of the weights into a configuration of transformers."""
    values = json.loads(config.read_text()) if config.is_file() else {}
    if not values.keys() & {"model_type", "torch_dtype", "dtype"}:
        return
    values["torch_dtype" if "torch_dtype" in values else "dtype"] = dtype
    config.write_text(json.dumps(values, indent=2) + "\n")


def make_readable(folder: Path) -> None:
    """Let everybody read: the user of a container is rarely the files' owner."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
