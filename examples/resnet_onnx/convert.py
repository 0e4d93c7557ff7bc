"""A ResNet's weights to ONNX: `python -m examples.resnet_onnx.convert --weights FILE`.

FILE is a state dict (.pth or .safetensors) of torchvision's resnet18, 34, 50, 101 or
152, with any number of classes. The result is kept only if onnxruntime and torch
predict the same with it.
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

from examples.resnet_onnx.preprocess import SIZE, preprocess
from model_helpers.image import decode_image
from model_interface.files import Upload

LAYERS = (18, 34, 50, 101, 152)
TOLERANCE = 1e-3  # the largest difference of logits, as a share of the largest logit


def main() -> None:
    options = parse_arguments()
    network = load(options.weights)
    export(network, options.output, options.dynamic_batch)
    worst = 0.0
    for name, pixels in test_batches(options):
        expected, found = run_both(network, options.output, pixels)
        difference = float(np.abs(expected - found).max() / np.abs(expected).max())
        worst = max(worst, difference)
        if difference > TOLERANCE or (expected.argmax(1) != found.argmax(1)).any():
            options.output.unlink()
            sys.exit(f"On {name} onnxruntime differs from torch: nothing is kept.")
    print(f"{options.output}: same classes, logits within {worst:.1e} of torch's.")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convert a ResNet to ONNX.")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--test-image", type=Path, help="compare on this image too")
    parser.add_argument("--dynamic-batch", action="store_true", help="default: 1 image")
    return parser.parse_args()


def load(file: Path) -> nn.Module:
    """Return the ResNet that has weights of these names and shapes."""
    is_safetensors = file.suffix == ".safetensors"
    try:
        state = load_file(file) if is_safetensors else torch.load(file, "cpu")
    except (OSError, RuntimeError, pickle.UnpicklingError, SafetensorError):
        sys.exit(f"{file} is not a readable file of weights.")
    classes = len(state["fc.bias"]) if "fc.bias" in state else 1
    for layers in LAYERS:
        network = getattr(models, f"resnet{layers}")(num_classes=classes)
        if shapes(network.state_dict()) == shapes(state):
            network.load_state_dict(state, strict=False)
            return network.eval()
    sys.exit(f"{file} is not one of torchvision's ResNets with {LAYERS} layers.")


def shapes(state: dict) -> dict:
    """Return the shapes by name, without the counters that older files lack."""
    names = [name for name in state if "num_batches_tracked" not in name]
    return {name: getattr(state[name], "shape", None) for name in names}


def export(network: nn.Module, output: Path, dynamic: bool) -> None:
    pixels = torch.zeros(2 if dynamic else 1, 3, SIZE, SIZE)
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


def test_batches(options: argparse.Namespace) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and pixels: noise in batches of several sizes, and the test image."""
    random = np.random.default_rng(0)
    for count in (1, 2, 5) if options.dynamic_batch else (1,):
        noise = random.normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)
        yield f"{count} images of noise", noise
    if options.test_image:
        image = decode_image(Upload.from_file(options.test_image.resolve()))
        yield str(options.test_image), preprocess(image)[None]


@torch.inference_mode()
def run_both(network, file: Path, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return torch's and onnxruntime's logits, (images, classes) each."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pixels": pixels})
    return network(torch.from_numpy(pixels)).numpy(), found


if __name__ == "__main__":
    main()
