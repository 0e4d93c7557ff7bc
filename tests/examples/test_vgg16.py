"""The training example: VGG16 learns the direction of stripes, and is served."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.examples.serving import (
    SINGLE_THREAD,
    Example,
    assert_batch_equals_singles,
    assert_is_described,
    assert_similar,
    run_script,
)
from tests.support.gpu import SKIP_STUB
from tests.support.images import BULLDOG
from tests.support.server import ROOT

models = pytest.importorskip("torchvision.models")
pytestmark = SKIP_STUB  # Training uses a GPU if there is one.

TRAIN = "vgg16.train"
SMALL = (
    "--narrow 16 --batch-norm --size 32 --batch-size 8 --lr 3e-4 --workers 0".split()
)


def draw_stripes(folder: Path) -> None:
    """Write 60 images of horizontal and 60 of vertical stripes."""
    random = np.random.default_rng(0)
    for name in ("horizontal", "vertical"):
        (folder / name).mkdir()
        for number in range(60):
            phase = np.arange(48) * random.uniform(0.3, 0.9) + random.uniform(0, 6)
            light = np.broadcast_to(128 + 100 * np.sin(phase), (48, 48))
            noisy = (light + random.normal(0, 10, light.shape)).clip(0, 255)
            noisy = noisy.T if name == "horizontal" else noisy
            image = Image.fromarray(noisy.astype(np.uint8))
            image.save(folder / name / f"{number}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the images, the folder of a short training, and what it printed."""
    data, output = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("vgg") / "m"
    draw_stripes(data)
    result = run_script(TRAIN, data, "--output", output, "--epochs", 4, *SMALL)
    assert result.returncode == 0, result.stderr
    return data, output, result


@pytest.fixture(scope="module")
def served(trained):
    with Example("vgg16", trained[1]) as example:
        yield example


def test_training_learns_and_reports_its_accuracy(trained):
    _, output, printed = trained
    result = json.loads((output / "test.json").read_text())
    correct = result["accuracy"] * len(result["predictions"])
    assert result["accuracy"] >= 0.9
    assert np.trace(result["confusion"]) == correct
    assert "96 images to train, 12 to validate, 12 to test" in printed.stdout
    assert f"Test accuracy {result['accuracy']:.1%}" in printed.stdout
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "epoch 4: 100%" in printed.stderr


def test_served_answers_equal_those_of_the_training(trained, served, tmp_path):
    data, output, _ = trained
    predictions = json.loads((output / "test.json").read_text())["predictions"]
    files = [data / name for name in predictions]
    answers = served.predict(*files)["predictions"]
    for answer, expected in zip(answers, predictions.values(), strict=True):
        assert_similar(answer, expected)
    assert_batch_equals_singles(served, files)
    bad = {"400": b"", "415": b"hello", "422": BULLDOG.read_bytes()[:9000]}
    for status, sent in bad.items():
        assert served.refusal(sent, tmp_path / "bad") == status


def test_input_is_described(served):
    assert_is_described(served)


def test_resumed_training_gives_the_same_weights(trained, tmp_path):
    data, complete, _ = trained
    options = [TRAIN, data, "--output", tmp_path, "--epochs", 4, *SMALL]
    interrupted = (
        "import sys; from examples.vgg16 import train; save = train.Training.save\n"
        "def stop(self): save(self); len(self.curves['loss']) < 2 or sys.exit(9)\n"
        "train.Training.save = stop; train.main()"
    )
    command = [sys.executable, "-c", interrupted, *map(str, options[1:])]
    environment = os.environ | SINGLE_THREAD
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert result.returncode == 9 and not (tmp_path / "test.json").exists()
    resumed = run_script(*options, "--resume")
    assert resumed.returncode == 0 and "epoch 2" not in resumed.stderr
    weights = load_file(tmp_path / "model.safetensors")
    expected = load_file(complete / "model.safetensors")
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    refused = run_script(*options, "--resume", "--batch-size", 7)
    assert refused.returncode == 1 and "--batch-size 8" in refused.stderr


def test_frozen_convolutions_do_not_change(trained, tmp_path):
    data, complete, _ = trained
    start = tmp_path / "start.safetensors"
    before = load_file(complete / "model.safetensors")
    save_file(before, start)
    options = ("--weights", start, "--frozen", "--epochs", 1, "--output", tmp_path)
    assert run_script(TRAIN, data, *options, *SMALL).returncode == 0
    after = load_file(tmp_path / "model.safetensors")
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed and all(name.startswith("classifier") for name in changed)


@pytest.mark.parametrize("batch_norm, name", [(False, "vgg16"), (True, "vgg16_bn")])
def test_network_fits_the_weights_of_torchvision(batch_norm, name):
    make_network = import_module("examples.vgg16.network").make_network
    with torch.device("meta"):
        expected = getattr(models, name)(num_classes=3).state_dict()
        weights = make_network(3, 1, batch_norm).state_dict()
    shapes = {key: weight.shape for key, weight in weights.items()}
    assert shapes == {key: weight.shape for key, weight in expected.items()}


def test_folder_without_classes_is_refused(tmp_path):
    train = import_module("examples.vgg16.train")
    with pytest.raises(SystemExit, match="two or more classes"):
        train.find_images(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(SystemExit, match="fewer than 10"):
        train.find_images(tmp_path)
