"""A ResNet's weights to ONNX: `python -m examples.resnet_onnx.convert --weights W`.

W is a state dict of torchvision's resnet18, 34, 50, 101 or 152 (.pth, .safetensors),
with any number of classes. The file is kept only if onnxruntime answers as torch does.
"""

import argparse
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torchvision import models

from endpoint.decoders.image import decode_image
from endpoint.uploads import Upload
from examples.resnet_onnx.pixels import SIDE, pixels_of

SIZES = (18, 34, 50, 101, 152)  # layers
CLOSE = 1e-3  # how far logits may be apart, as a share of the largest


def main() -> None:
    options = parse()
    network = load(options.weights)
    export(network, options.output, options.dynamic_batch)
    worst = 0.0
    for name, pixels in batches(options):
        known, found = answers(network, options.output, pixels)
        apart = float(np.abs(known - found).max() / np.abs(known).max())
        worst = max(worst, apart)
        if apart > CLOSE or (known.argmax(1) != found.argmax(1)).any():
            options.output.unlink()
            sys.exit(f"On {name} onnxruntime differs from torch: nothing is kept.")
    print(f"{options.output}: same classes, logits within {worst:.1e} of torch's.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convert a ResNet to ONNX.")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--test-image", type=Path, help="compare on this one as well")
    parser.add_argument("--dynamic-batch", action="store_true", help="else one by one")
    return parser.parse_args()


def load(file: Path) -> nn.Module:
    """Return the ResNet that the weights fit."""
    safe = file.suffix == ".safetensors"
    try:
        state = load_file(file) if safe else torch.load(file, map_location="cpu")
    except (OSError, RuntimeError, pickle.UnpicklingError, SafetensorError):
        sys.exit(f"{file} cannot be read, or is no file of weights alone.")
    for size in SIZES:
        network = getattr(models, f"resnet{size}")(num_classes=classes_of(state))
        if shapes(network.state_dict()) == shapes(state):
            network.load_state_dict(state, strict=False)
            return network.eval()
    sys.exit(f"{file} fits none of torchvision's ResNets with {SIZES} layers.")


def classes_of(state: dict) -> int:
    return len(state["fc.bias"]) if "fc.bias" in state else 1


def shapes(state: dict) -> dict:
    """Tell the parameters' shapes, all but a counter that older files lack."""
    counter = "num_batches_tracked"
    tensors = {name: each for name, each in state.items() if counter not in name}
    return {name: getattr(each, "shape", None) for name, each in tensors.items()}


def export(network: nn.Module, output: Path, dynamic: bool) -> None:
    pixels = torch.zeros(2 if dynamic else 1, 3, SIDE, SIDE)
    torch.onnx.export(
        network,
        (pixels,),
        output,
        input_names=["pixels"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("images")},) if dynamic else None,
        external_data=False,
        verbose=False,
    )


def batches(options: argparse.Namespace) -> Iterator[tuple[str, np.ndarray]]:
    """Give what to compare on: noise, in several sizes, and a picture."""
    chance = np.random.default_rng(0)
    for size in (1, 2, 5) if options.dynamic_batch else (1,):
        noise = chance.normal(size=(size, 3, SIDE, SIDE)).astype(np.float32)
        yield f"{size} of noise", noise
    if options.test_image:
        upload = Upload(options.test_image.read_bytes())
        yield str(options.test_image), pixels_of(decode_image(upload))[None]


@torch.inference_mode()
def answers(network, file: Path, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return torch's logits and onnxruntime's, (images, classes) each."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pixels": pixels})
    return network(torch.from_numpy(pixels)).numpy(), found


if __name__ == "__main__":
    main()
