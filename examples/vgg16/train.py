"""Train VGG16 on your own classes: `python -m examples.vgg16.train DATA`.

DATA contains a folder of images for each class; the folder's name is the class. 80 % of
the images are for training. 10 % select the best epoch, and another 10 % test it once,
at the end. `--resume` continues an interrupted training, with the same result.
"""

import argparse
import json
import math
import random
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models import VGG16_BN_Weights, VGG16_Weights
from tqdm import tqdm
from werkzeug.exceptions import HTTPException

from examples.vgg16.model import FOLDER
from examples.vgg16.network import center_crop, make_network, normalize
from model_helpers.image import decode_image
from model_interface.files import Upload

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
MIN_IMAGES = 10  # of each class: one is for validation, one for the test
ROTATION = 15  # degrees to either side
CROP = (0.5, 1.0)  # the smallest and the largest part of an image's area
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MAY_CHANGE = ("data", "output", "workers", "resume")  # options, when resuming
LAST_LAYER = {"classifier.6.weight", "classifier.6.bias"}
LabelledFiles = list[tuple[Path, int]]


def main() -> None:
    options = parse_arguments()
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(options.seed)
    classes, files = find_images(options.data)
    train_files, validation_files, test_files = split(files, options.seed)
    print(
        f"{len(classes)} classes on {DEVICE}: {len(train_files)} images to train, "
        f"{len(validation_files)} to validate, {len(test_files)} to test"
    )
    network = make_initial_network(len(classes), options)
    write_config(classes, options)
    training = Training(network.to(DEVICE), options)
    augmented = Images(train_files, options.size, augment=True)
    training.run(augmented, Images(validation_files, options.size))
    plot(training.curves, options.output / "curves.png")
    network.load_state_dict(load_file(options.output / "model.safetensors"))
    result = test(network, test_files, classes, options)
    write_json(options.output / "test.json", result)
    print_confusion(result["confusion"], classes)
    print(f"Test accuracy {result['accuracy']:.1%}. Serve it:")
    print(f"ENDPOINT_MODULE=examples.vgg16 ENDPOINT_MODEL={options.output} gunicorn")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train VGG16 on your own classes.")
    add = parser.add_argument
    add("data", type=Path, help="a folder that contains a folder for each class")
    add("--output", type=Path, default=Path(FOLDER))
    add(
        "--weights",
        help="torchvision's weights to start from: a file; imagenet (the default), "
        "which downloads them; or none (the default with --narrow)",
    )
    add("--frozen", action="store_true", help="train only the linear layers")
    add("--batch-norm", action="store_true", help="as in vgg16_bn")
    add("--narrow", type=int, default=1, help="divide the width of all layers by this")
    add("--size", type=int, default=224, help="pixels on each side")
    add("--epochs", type=int, default=20)
    add("--batch-size", type=int, default=32, help="images")
    add("--lr", type=float, default=1e-4, help="the initial learning rate")
    add("--seed", type=int, default=0)
    add("--workers", type=int, default=2, help="processes that load images")
    add("--resume", action="store_true", help="continue an interrupted training")
    options = parser.parse_args()
    options.weights = options.weights or ("imagenet" if options.narrow == 1 else "none")
    return options


def find_images(data: Path) -> tuple[list[str], list[list[Path]]]:
    """Return the sorted classes and the image files of each."""
    folders = sorted(path for path in data.glob("[!.]*") if path.is_dir())
    files = [
        sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        for folder in folders
    ]
    for folder, found in zip(folders, files):
        if len(found) < MIN_IMAGES:
            sys.exit(f"{folder} has {len(found)} images, fewer than {MIN_IMAGES}.")
    if len(folders) < 2:
        sys.exit(f"{data} needs a folder for each of two or more classes.")
    return [folder.name for folder in folders], files


def split(files: list[list[Path]], seed: int) -> list[LabelledFiles]:
    """Split the files of each class: 80 % training, 10 % validation, 10 % test."""
    parts: list[LabelledFiles] = [[], [], []]
    for label, paths in enumerate(files):
        paths = random.Random(seed).sample(paths, len(paths))
        tenth = len(paths) // 10
        cuts = paths[2 * tenth :], paths[:tenth], paths[tenth : 2 * tenth]
        for part, cut in zip(parts, cuts):
            part += [(path, label) for path in cut]
    return parts


class Images(Dataset):
    """Labelled images as arrays (size, size, 3), randomly changed with `augment`."""

    def __init__(self, files: LabelledFiles, size: int, augment: bool = False) -> None:
        self.files, self.size, self.augment = files, size, augment
        bilinear = transforms.InterpolationMode.BILINEAR
        steps = [
            transforms.RandomRotation(ROTATION, bilinear),
            transforms.RandomResizedCrop(size, CROP),
            transforms.RandomHorizontalFlip(),
        ]
        self.augmentation = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        path, label = self.files[index]
        image = read_image(path)
        if self.augment:
            return np.asarray(self.augmentation(image)), label
        return center_crop(image, self.size), label


def read_image(path: Path) -> Image.Image:
    """Decode an image as the server does."""
    try:
        return decode_image(Upload(path.read_bytes()))
    except HTTPException as error:
        raise ValueError(f"{path}: {error.description}") from None


def load_batches(
    images: Images, options: argparse.Namespace, shuffle: bool = False
) -> DataLoader:
    return DataLoader(
        images,
        options.batch_size,
        shuffle,
        num_workers=options.workers,
        collate_fn=collate,
    )


def collate(items: list[tuple[np.ndarray, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*items)
    return normalize(images), torch.tensor(labels)


def make_initial_network(classes: int, options: argparse.Namespace) -> nn.Sequential:
    """Make a network that starts from the given weights, except in its last layer."""
    network = make_network(classes, options.narrow, options.batch_norm)
    if options.weights == "none":
        return network
    weights = read_weights(options.weights, options.batch_norm)
    weights = {name: weights[name] for name in weights if name not in LAST_LAYER}
    try:
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except RuntimeError:
        sys.exit(f"The weights {options.weights} belong to a network of another width.")
    if set(missing) != LAST_LAYER or unexpected:
        sys.exit(f"{options.weights} is not VGG16, with or without --batch-norm.")
    return network


def read_weights(name: str, batch_norm: bool) -> dict[str, torch.Tensor]:
    """Download torchvision's ImageNet weights, or read a file."""
    try:
        if name == "imagenet":
            weights = VGG16_BN_Weights if batch_norm else VGG16_Weights
            return dict(weights.IMAGENET1K_V1.get_state_dict(progress=True))
        if name.endswith(".safetensors"):
            return load_file(name)
        return torch.load(name, "cpu")
    except OSError as error:
        sys.exit(f"The weights {name} are unavailable: {error}.")


def write_config(classes: list[str], options: argparse.Namespace) -> None:
    """Write what model.py needs beside the weights."""
    shape = {"narrow": options.narrow, "batch_norm": options.batch_norm}
    config = {"classes": classes, "size": options.size, "network": shape}
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / "config.json", config)


class Training:
    """A network in training, with everything that is needed to resume it."""

    def __init__(self, network: nn.Sequential, options: argparse.Namespace) -> None:
        self.network, self.options = network, options
        network.features.requires_grad_(not options.frozen)
        trained = [each for each in network.parameters() if each.requires_grad]
        self.optimizer = torch.optim.Adam(trained, options.lr)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR
        self.scheduler = cosine(self.optimizer, options.epochs)
        self.curves: dict[str, list[float]] = defaultdict(list)
        self.file = options.output / "last.pt"
        if options.resume and self.file.is_file():
            self.load()

    def run(self, images: Images, validation: Images) -> None:
        """Train the remaining epochs; keep the weights of the best validation loss."""
        for epoch in range(len(self.curves["loss"]), self.options.epochs):
            torch.manual_seed(1000 * self.options.seed + epoch)
            trained = self.run_epoch(images, f"epoch {epoch + 1}", train=True)
            with torch.inference_mode():
                validated = self.run_epoch(validation, "validation")
            best = min(self.curves["validation loss"], default=math.inf)
            self.scheduler.step()
            names = ("loss", "accuracy", "validation loss", "validation accuracy")
            for name, value in zip(names, trained + validated):
                self.curves[name].append(value)
            if validated[0] < best:
                save_weights(self.network, self.options.output)
            self.save()

    def run_epoch(
        self, images: Images, name: str, train: bool = False
    ) -> tuple[float, float]:
        """Return the mean loss and the accuracy; with `train`, update the weights."""
        self.network.train(train)
        self.network.features.train(train and not self.options.frozen)
        loss_sum, correct, count = 0.0, 0, 0
        with tqdm(load_batches(images, self.options, shuffle=train), name) as bar:
            for pixels, labels in bar:
                labels = labels.to(DEVICE)
                logits = self.network(pixels.to(DEVICE))  # (images, classes)
                loss = nn.functional.cross_entropy(logits, labels)
                if train:
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
                loss_sum += loss.item() * len(labels)
                correct += int((logits.argmax(1) == labels).sum())
                count += len(labels)
                bar.set_postfix(loss=loss_sum / count, accuracy=correct / count)
        return loss_sum / count, correct / count

    def save(self) -> None:
        """Save the state so that an interruption cannot leave half a file."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "curves": dict(self.curves),
            "options": fixed_options(self.options),
        }
        new = self.file.with_suffix(".new")
        torch.save(state, new)
        new.replace(self.file)

    def load(self) -> None:
        saved = torch.load(self.file, map_location=DEVICE)
        for name, value in fixed_options(self.options).items():
            before = saved["options"][name]
            if value != before:
                option = f"--{name.replace('_', '-')} {before}"
                sys.exit(f"{self.file} was trained with {option}.")
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scheduler.load_state_dict(saved["scheduler"])
        self.curves |= saved["curves"]


def fixed_options(options: argparse.Namespace) -> dict:
    """Return the options that must not change when a training is resumed."""
    values = vars(options).items()
    return {name: value for name, value in values if name not in MAY_CHANGE}


def save_weights(network: nn.Module, folder: Path) -> None:
    new = folder / "model.new"
    save_file(network.state_dict(), new)
    new.chmod(0o644)  # Servers often run as another user.
    new.replace(folder / "model.safetensors")


@torch.inference_mode()
def test(
    network: nn.Module,
    files: LabelledFiles,
    classes: list[str],
    options: argparse.Namespace,
) -> dict:
    """Return the accuracy, the confusion matrix and the answer for each image."""
    network.eval()
    loader = load_batches(Images(files, options.size), options)
    scores = [network(pixels.to(DEVICE)).softmax(1).cpu() for pixels, _ in loader]
    confidences, predicted = torch.cat(scores).max(1)  # (images,)
    confusion = np.zeros((len(classes), len(classes)), int)
    answers = {}
    rows = zip(files, confidences.tolist(), predicted.tolist())
    for (path, label), confidence, class_id in rows:
        confusion[label, class_id] += 1
        answer = {"class": classes[class_id], "confidence": round(confidence, 4)}
        answers[str(path.relative_to(options.data))] = answer
    accuracy = confusion.trace() / confusion.sum()
    confusion = confusion.tolist()
    return {"accuracy": accuracy, "confusion": confusion, "predictions": answers}


def print_confusion(confusion: list[list[int]], classes: list[str]) -> None:
    """Print a row for each class: how many of its images were taken for which class."""
    width = max(map(len, classes))
    for name, row in zip(classes, confusion):
        print(f"{name:>{width}}", *(f"{count:4}" for count in row))


def plot(curves: dict[str, list[float]], file: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axis, name in zip(axes, ("loss", "accuracy")):
        axis.plot(curves[name], label="training")
        axis.plot(curves[f"validation {name}"], label="validation")
        axis.set(xlabel="epoch", title=name)
    axes[0].legend()
    figure.savefig(file)


def write_json(file: Path, values: dict) -> None:
    file.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
