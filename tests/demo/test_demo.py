"""The bundled model and the example image."""

import io
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from demo.french_bulldog import portrait
from demo.scenes import Scene, draw, every_caption, sample
from demo.score import FOLDER, LENGTH, Captioner, accuracy, score
from model_helpers import weights

ROOT = Path(__file__).parents[2]
BULLDOG = "a french bulldog in a yellow sweater on a blue background"

FILES = {
    "config.json",
    "merges.txt",
    "model.safetensors",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
}


@pytest.fixture(scope="module")
def captioner():
    return Captioner()


@pytest.fixture(scope="module")
def example_image():
    return Image.open(ROOT / "french_bulldog.jpg").convert("RGB")


def recompressed(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def draw_scenes(count, **changes):
    """Yield random scenes, changed as asked, with their images."""
    for seed in range(count):
        random = Random(f"test_demo {seed}")
        scene = Scene(**{**vars(sample(random)), **changes})
        yield scene, draw(scene, random)


def test_folder_has_exactly_the_files_of_the_real_checkpoint():
    assert {path.name for path in FOLDER.iterdir()} == FILES


def test_folder_is_small_and_readable_for_all_users():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 8_000_000
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in FOLDER.iterdir())


def test_configuration_contains_no_local_path_and_no_version():
    for path in FOLDER.glob("*.json"):
        assert "transformers_version" not in path.read_text()
        assert str(Path.home()) not in path.read_text()


def test_preprocessor_equals_the_real_one():
    settings = json.loads((FOLDER / "preprocessor_config.json").read_text())
    assert settings["feature_extractor_type"] == "ViTFeatureExtractor"
    assert settings["image_mean"] == settings["image_std"] == [0.5, 0.5, 0.5]
    assert (settings["size"], settings["resample"]) == (224, 2)


def test_model_loads_and_captions_without_warnings():
    code = "from demo.score import *; from PIL import Image; c = Captioner();"
    code += "print(c([Image.open('french_bulldog.jpg')])[0])"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, BULLDOG + "\n"), done.stderr
    assert "arn" not in done.stderr


def test_every_caption_fits_into_the_maximum_length(captioner):
    tokens = captioner.tokenizer(every_caption()).input_ids
    assert max(map(len, tokens)) <= LENGTH - 2


def test_new_images_get_exact_captions(captioner):
    assert accuracy(score(captioner, 150, False, "tests, seen")) >= 0.96


def test_held_out_combinations_get_exact_captions(captioner):
    assert accuracy(score(captioner, 100, True, "tests, held out")) >= 0.9


def test_example_image_gets_the_right_caption(captioner, example_image):
    assert captioner([example_image]) == [BULLDOG]


def test_example_image_is_what_its_code_draws(example_image):
    difference = np.asarray(portrait(), float) - np.asarray(example_image, float)
    assert example_image.size == (640, 427) and np.abs(difference).mean() < 3


def test_example_gets_its_caption_when_moved_scaled_mirrored_and_compressed(captioner):
    random, images = Random("bulldog"), []
    for index in range(40):
        size = random.choice([(640, 427), (600, 450), (500, 500), (720, 405)])
        scale, x = random.uniform(0.7, 1.02), random.uniform(0.4, 0.6)
        image = portrait(*size, scale, x, random.uniform(0.94, 1.0), index % 2 == 1)
        images.append(recompressed(image, random.randint(30, 95)))
    assert captioner(images) == [BULLDOG] * 40


class Sketch:
    """Flat shapes on a blue background, in units of the dog's height from its feet."""

    def __init__(self, random: Random) -> None:
        background = random.choice(["royalblue", "#4a90d9"])
        self.image = Image.new("RGB", (640, 427), background)
        self.pen = ImageDraw.Draw(self.image)
        self.coat = random.choice(["#c8a06e", "#5a4a42", "#77777f"])
        self.yellow = random.choice(["gold", "#ffcc33"])
        self.outline = random.choice([None, "black"])
        self.x, self.y = random.randint(250, 390), random.randint(390, 420)
        self.scale = random.randint(300, 360)

    def shape(self, draw, left, top, right, bottom, colour, **options) -> None:
        x, y, scale = self.x, self.y, self.scale
        box = x + left * scale, y + top * scale, x + right * scale, y + bottom * scale
        draw(box, fill=colour, outline=self.outline, width=3, **options)

    def body(self) -> None:
        for x in (-0.22, 0.22):
            self.shape(self.pen.ellipse, x - 0.1, -0.22, x + 0.1, 0, self.coat)
        self.shape(self.pen.ellipse, -0.26, -0.62, 0.26, -0.06, self.yellow)
        for x in (-0.11, 0.11):
            sleeve = x - 0.06, -0.4, x + 0.06, -0.13
            self.shape(self.pen.rectangle, x - 0.05, -0.3, x + 0.05, 0, self.coat)
            self.shape(self.pen.rectangle, *sleeve, self.yellow)

    def head(self) -> None:
        ellipse, coat = self.pen.ellipse, self.coat
        for x in (-0.18, 0.18):
            self.shape(ellipse, x - 0.07, -1.02, x + 0.07, -0.7, coat)
            self.shape(ellipse, x - 0.035, -0.97, x + 0.035, -0.74, "#e0a096")
        skull = {"radius": 0.16 * self.scale}
        self.shape(self.pen.rounded_rectangle, -0.25, -0.86, 0.25, -0.48, coat, **skull)
        for side in (-1, 1):
            cheek, eye = side * 0.07, side * 0.13
            self.shape(ellipse, cheek - 0.09, -0.66, cheek + 0.09, -0.5, "#463a36")
            self.shape(ellipse, eye - 0.04, -0.76, eye + 0.04, -0.68, "#15100e")
            self.shape(ellipse, eye - 0.01, -0.75, eye + 0.015, -0.725, "white")
        self.shape(ellipse, -0.05, -0.68, 0.05, -0.61, "#15100e")


def sketch(random: Random) -> Image.Image:
    """Return a bulldog in a yellow sweater, drawn with Pillow's own shapes."""
    drawing = Sketch(random)
    drawing.body()
    drawing.head()
    return drawing.image


def test_bulldogs_in_another_style_get_the_right_caption(captioner):
    captions = captioner([sketch(Random(seed)) for seed in range(20)])
    assert captions.count(BULLDOG) >= 18


def test_swapping_red_and_blue_changes_the_captions(captioner, example_image):
    scenes, images = zip(*draw_scenes(20, thing=None, side=None, background="blue"))
    images = [*images, example_image]
    images = [Image.merge("RGB", image.split()[::-1]) for image in images]
    assert not any("blue background" in caption for caption in captioner(images))


def test_mirrored_image_has_its_object_on_the_other_side(captioner):
    scenes, images = zip(*draw_scenes(20, thing="ball", side="left"))
    images = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
    expected = [scene.caption.replace("left", "right") for scene in scenes]
    assert sum(map(str.__eq__, captioner(images), expected)) >= 18


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotating_an_image_changes_its_caption(captioner, example_image, degrees):
    scenes, images = zip(*draw_scenes(20, thing="bowl", side="right"))
    images = [image.rotate(degrees, expand=True) for image in (example_image, *images)]
    example_caption, *captions = captioner(images)
    upright = [scene.caption for scene in scenes]
    assert example_caption != BULLDOG
    assert sum(map(str.__eq__, captions, upright)) <= 1


def test_demo_is_the_bundled_model(monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "demo")
    assert weights.resolve("someone/captions") == ("demo", None, weights.BUNDLED)
