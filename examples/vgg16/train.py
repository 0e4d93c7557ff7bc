"""Teaches VGG16 the classes of a folder: `python -m examples.vgg16.train DATA`.

DATA holds a folder for each class, named like it, with its pictures. A tenth of them
choose the best epoch and another tenth measures it, once, at the end. `--resume` goes
on with a training that was interrupted, to the same result.
"""

import argparse
import json
import math
import random
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

from endpoint.decoders.image import decode_image
from endpoint.uploads import Upload
from examples.vgg16.model import FOLDER
from examples.vgg16.network import framed, make_network, normalised

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
FEWEST = 10  # pictures of a class: one of them validates, one tests
TURN = 15  # degrees to either side
CROP = (0.5, 1.0)  # share of a picture
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FREE = ("data", "output", "workers", "resume")  # may differ when a training goes on


def main() -> None:
    options = parse()
    torch.set_float32_matmul_precision("high")
    classes, pictures = find(options.data)
    parts = split(pictures, options.seed)
    sizes = "{} pictures to train, {} to validate, {} to test".format(*map(len, parts))
    print(f"{len(classes)} classes, {sizes}, on {DEVICE}")
    shape = {"narrow": options.narrow, "batch_norm": options.batch_norm}
    torch.manual_seed(options.seed)
    network = make_network(len(classes), **shape)
    start_from(network, options.weights, options.batch_norm)
    options.output.mkdir(parents=True, exist_ok=True)
    training = Training(network.to(DEVICE), options)
    config = {"classes": classes, "side": options.side, "network": shape}
    write(options.output / "config.json", config)
    varied = Pictures(parts[0], options.side, vary=True)
    training.run(varied, Pictures(parts[1], options.side))
    plot(training.curves, options.output / "curves.png")
    network.load_state_dict(load_file(options.output / "model.safetensors"))
    result = test(network, parts[2], classes, options)
    write(options.output / "test.json", result)
    show(result["confusion"], classes)
    print(f"Test accuracy {result['accuracy']:.1%}. Serve it:")
    print(f"ENDPOINT_APP=examples.vgg16 ENDPOINT_MODEL={options.output} gunicorn")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Teach VGG16 the classes of a folder.")
    parser.add_argument("data", type=Path, help="a folder of one folder a class")
    parser.add_argument("--output", type=Path, default=Path(FOLDER))
    parser.add_argument(
        "--weights",
        help="torchvision's, in a file; imagenet downloads them and is the default, "
        "none starts from nothing, as a narrow network always does",
    )
    parser.add_argument("--frozen", action="store_true", help="train no convolution")
    parser.add_argument("--batch-norm", action="store_true", help="as in vgg16_bn")
    parser.add_argument("--narrow", type=int, default=1, help="divides all widths")
    parser.add_argument("--side", type=int, default=224, help="pixels")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32, help="pictures")
    parser.add_argument("--rate", type=float, default=1e-4, help="at the beginning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="that read pictures")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    if options.weights is None:
        options.weights = "imagenet" if options.narrow == 1 else "none"
    return options


def find(data: Path) -> tuple[list[str], list[list[Path]]]:
    """Return the classes, sorted, and the pictures of each."""
    folders = sorted(path for path in data.glob("[!.]*") if path.is_dir())
    pictures = [
        sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
        for folder in folders
    ]
    for folder, found in zip(folders, pictures):
        if len(found) < FEWEST:
            raise SystemExit(
                f"{folder} has {len(found)} pictures, fewer than {FEWEST}."
            )
    if len(folders) < 2:
        raise SystemExit(f"{data} needs a folder for each of two or more classes.")
    return [folder.name for folder in folders], pictures


def split(pictures: list[list[Path]], seed: int) -> list[list[tuple[Path, int]]]:
    """Deal each class's pictures: 80 % to train, 10 % to validate, 10 % to test."""
    parts: list[list[tuple[Path, int]]] = [[], [], []]
    for label, paths in enumerate(pictures):
        paths = random.Random(seed).sample(paths, len(paths))
        tenth = len(paths) // 10
        cuts = paths[2 * tenth :], paths[:tenth], paths[tenth : 2 * tenth]
        for part, cut in zip(parts, cuts):
            part += [(path, label) for path in cut]
    return parts


class Pictures(Dataset):
    """Labelled files as arrays, (side, side, 3); those to learn from are varied."""

    def __init__(self, files: list[tuple[Path, int]], side: int, vary=False) -> None:
        self.files, self.side = files, side
        steps = [
            transforms.RandomRotation(TURN, transforms.InterpolationMode.BILINEAR),
            transforms.RandomResizedCrop(side, CROP),
            transforms.RandomHorizontalFlip(),
        ]
        self.varied = transforms.Compose(steps) if vary else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        path, label = self.files[index]
        image = read(path)
        if self.varied:
            return np.asarray(self.varied(image)), label
        return framed(image, self.side), label


def read(path: Path) -> Image.Image:
    """Open a picture as the server does."""
    try:
        return decode_image(Upload(path.read_bytes()))
    except HTTPException as error:
        raise ValueError(f"{path}: {error.description}") from None


def batches(pictures: Pictures, options: argparse.Namespace, shuffle=False):
    some = {"batch_size": options.batch, "num_workers": options.workers}
    return DataLoader(pictures, shuffle=shuffle, collate_fn=batch, **some)


def batch(items: list[tuple[np.ndarray, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*items)
    return normalised(images), torch.tensor(labels)


def start_from(network: nn.Sequential, weights: str, batch_norm: bool) -> None:
    """Load torchvision's weights, all but the last layer's: its classes are others."""
    if weights == "none":
        return
    published = VGG16_BN_Weights if batch_norm else VGG16_Weights
    try:
        if weights == "imagenet":
            state = published.IMAGENET1K_V1.get_state_dict(progress=True)
        elif weights.endswith(".safetensors"):
            state = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu")
    except OSError as error:
        raise SystemExit(f"The weights {weights} cannot be had: {error}.") from None
    last = {"classifier.6.weight", "classifier.6.bias"}
    state = {name: tensor for name, tensor in state.items() if name not in last}
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError:
        raise SystemExit(f"The weights {weights} are of other widths.") from None
    if set(missing) != last or unexpected:
        raise SystemExit(f"{weights} is not VGG16, with or without --batch-norm.")


class Training:
    """A network on its way, and all that is needed to go on where it stopped."""

    def __init__(self, network: nn.Sequential, options: argparse.Namespace) -> None:
        self.network, self.options = network, options
        network.features.requires_grad_(not options.frozen)
        trained = [each for each in network.parameters() if each.requires_grad]
        self.optimizer = torch.optim.Adam(trained, options.rate)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR
        self.schedule = cosine(self.optimizer, options.epochs)
        self.curves: dict[str, list[float]] = defaultdict(list)
        self.file = options.output / "last.pt"
        if options.resume and self.file.is_file():
            self.load()

    def run(self, pictures: Pictures, checks: Pictures) -> None:
        """Train the epochs that are left; keep the one that validates best."""
        for epoch in range(len(self.curves["loss"]), self.options.epochs):
            torch.manual_seed(1000 * self.options.seed + epoch)
            learned = self.pass_over(pictures, f"epoch {epoch + 1}", learn=True)
            with torch.inference_mode():
                checked = self.pass_over(checks, "    checked")
            is_best = checked[0] < min(self.curves["validation loss"], default=math.inf)
            self.schedule.step()
            names = ("loss", "accuracy", "validation loss", "validation accuracy")
            for name, value in zip(names, learned + checked):
                self.curves[name].append(value)
            if is_best:
                save(self.network.state_dict(), self.options.output)
            self.save()

    def pass_over(self, pictures, name: str, learn=False) -> tuple[float, float]:
        """Return the mean loss and the accuracy over pictures, learning from them."""
        self.network.train(learn)
        self.network.features.train(learn and not self.options.frozen)
        loss_sum, right, count = 0.0, 0, 0
        with tqdm(batches(pictures, self.options, shuffle=learn), name) as bar:
            for pixels, labels in bar:
                labels = labels.to(DEVICE)
                logits = self.network(pixels.to(DEVICE))  # (images, classes)
                loss = nn.functional.cross_entropy(logits, labels)
                if learn:
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
                loss_sum += loss.item() * len(labels)
                right += int((logits.argmax(1) == labels).sum())
                count += len(labels)
                bar.set_postfix(loss=loss_sum / count, accuracy=right / count)
        return loss_sum / count, right / count

    def save(self) -> None:
        """Write everything beside the last state, then put it in its place."""
        parts = {"network": self.network, "optimizer": self.optimizer}
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"schedule": self.schedule.state_dict(), "curves": dict(self.curves)}
        new = self.file.with_suffix(".new")
        torch.save(state | {"options": fixed(self.options)}, new)
        new.replace(self.file)

    def load(self) -> None:
        saved = torch.load(self.file, map_location=DEVICE)
        for name, value in fixed(self.options).items():
            if value != saved["options"][name]:
                before = saved["options"][name]
                raise SystemExit(f"{self.file} was trained with --{name} {before}.")
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.curves |= saved["curves"]


def fixed(options: argparse.Namespace) -> dict:
    return {name: value for name, value in vars(options).items() if name not in FREE}


def save(state: dict[str, torch.Tensor], folder: Path) -> None:
    new = folder / "model.new"
    save_file(state, new)
    new.chmod(0o644)  # A server often runs as somebody else.
    new.replace(folder / "model.safetensors")


@torch.inference_mode()
def test(network, files, classes: list[str], options: argparse.Namespace) -> dict:
    """Measure the best epoch on pictures that nothing has looked at yet."""
    network.eval()
    pictures = Pictures(files, options.side)
    loader = batches(pictures, options)
    scores = [network(pixels.to(DEVICE)).softmax(1).cpu() for pixels, _ in loader]
    confidences, guesses = torch.cat(scores).max(1)  # (pictures,)
    confusion = np.zeros((len(classes), len(classes)), int)
    predictions = {}
    for (path, label), sure, guess in zip(
        files, confidences.tolist(), guesses.tolist()
    ):
        confusion[label, guess] += 1
        answer = {"class": classes[guess], "confidence": round(sure, 4)}
        predictions[str(path.relative_to(options.data))] = answer
    return {
        "accuracy": confusion.trace() / confusion.sum(),
        "confusion": confusion.tolist(),
        "predictions": predictions,
    }


def show(confusion: list[list[int]], classes: list[str]) -> None:
    """Print how often pictures of a class (a row) were taken for each (a column)."""
    wide = max(map(len, classes))
    for name, row in zip(classes, confusion):
        print(f"{name:>{wide}}", *(f"{count:4}" for count in row))


def plot(curves: dict[str, list[float]], file: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axis, kind in zip(axes, ("loss", "accuracy")):
        axis.plot(curves[kind], label="training")
        axis.plot(curves[f"validation {kind}"], label="validation")
        axis.set(xlabel="epoch", title=kind)
    axes[0].legend()
    figure.savefig(file)


def write(file: Path, values: dict) -> None:
    file.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
