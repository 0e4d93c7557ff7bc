"""The small captioner that ships with the repository, and the project's picture."""

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
from demo.score import FOLDER, LENGTH, Captioner, score, share

ROOT = Path(__file__).parent.parent
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
def face():
    return Image.open(ROOT / "french_bulldog.jpg").convert("RGB")


def recompressed(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def pictures(count, **changes):
    """Fresh scenes with their pictures; `changes` are made to every scene."""
    for seed in range(count):
        random = Random(f"test_demo {seed}")
        scene = Scene(**{**vars(sample(random)), **changes})
        yield scene, draw(scene, random)


def test_folder_has_the_real_checkpoints_files_and_no_more():
    assert {path.name for path in FOLDER.iterdir()} == FILES


def test_folder_is_small_and_readable_by_everybody():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 8_000_000
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in FOLDER.iterdir())


def test_settings_name_no_machine_and_no_version():
    for path in FOLDER.glob("*.json"):
        assert "transformers_version" not in path.read_text()
        assert str(Path.home()) not in path.read_text()


def test_preprocessor_is_the_real_one():
    settings = json.loads((FOLDER / "preprocessor_config.json").read_text())
    assert settings["feature_extractor_type"] == "ViTFeatureExtractor"
    assert settings["image_mean"] == settings["image_std"] == [0.5, 0.5, 0.5]
    assert (settings["size"], settings["resample"]) == (224, 2)


def test_model_loads_and_captions_without_a_word_on_stderr():
    code = "from demo.score import *; from PIL import Image; c = Captioner();"
    code += "print(c([Image.open('french_bulldog.jpg')])[0])"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, BULLDOG + "\n"), done.stderr
    assert "arn" not in done.stderr


def test_every_caption_fits(captioner):
    tokens = captioner.tokenizer(every_caption()).input_ids
    assert max(map(len, tokens)) <= LENGTH - 2


def test_fresh_pictures_are_captioned_word_for_word(captioner):
    assert share(score(captioner, 150, False, "tests, seen")) >= 0.96


def test_combinations_never_drawn_in_training_are_captioned(captioner):
    assert share(score(captioner, 100, True, "tests, held out")) >= 0.9


def test_the_projects_picture_is_captioned_rightly(captioner, face):
    assert captioner([face]) == [BULLDOG]


def test_the_projects_picture_is_what_its_code_draws(face):
    difference = np.asarray(portrait(), float) - np.asarray(face, float)
    assert face.size == (640, 427) and np.abs(difference).mean() < 3


def test_the_bulldog_may_move_grow_turn_round_and_be_compressed(captioner):
    random, images = Random("bulldog"), []
    for index in range(40):
        size = random.choice([(640, 427), (600, 450), (500, 500), (720, 405)])
        scale, x = random.uniform(0.7, 1.02), random.uniform(0.4, 0.6)
        image = portrait(*size, scale, x, random.uniform(0.94, 1.0), index % 2 == 1)
        images.append(recompressed(image, random.randint(30, 95)))
    assert captioner(images) == [BULLDOG] * 40


def sketch(random: Random) -> Image.Image:
    """A bulldog in a yellow sweater on blue, as flat as Pillow's own shapes."""
    image = Image.new("RGB", (640, 427), random.choice(["royalblue", "#4a90d9"]))
    pen, coat = ImageDraw.Draw(image), random.choice(["#c8a06e", "#5a4a42", "#77777f"])
    yellow, line = random.choice(["gold", "#ffcc33"]), random.choice([None, "black"])
    x, y, s = (
        random.randint(250, 390),
        random.randint(390, 420),
        random.randint(300, 360),
    )

    def shape(draw_shape, left, top, right, bottom, colour, **options):
        box = x + left * s, y + top * s, x + right * s, y + bottom * s
        draw_shape(box, fill=colour, outline=line, width=3, **options)

    for side in (-1, 1):
        shape(pen.ellipse, side * 0.22 - 0.1, -0.22, side * 0.22 + 0.1, 0, coat)
    shape(pen.ellipse, -0.26, -0.62, 0.26, -0.06, yellow)
    for side in (-1, 1):
        middle = side * 0.11
        shape(pen.rectangle, middle - 0.05, -0.3, middle + 0.05, 0, coat)
        shape(pen.rectangle, middle - 0.06, -0.4, middle + 0.06, -0.13, yellow)
        ear = side * 0.18
        shape(pen.ellipse, ear - 0.07, -1.02, ear + 0.07, -0.7, coat)
        shape(pen.ellipse, ear - 0.035, -0.97, ear + 0.035, -0.74, "#e0a096")
    shape(pen.rounded_rectangle, -0.25, -0.86, 0.25, -0.48, coat, radius=0.16 * s)
    for side in (-1, 1):
        cheek, eye = side * 0.07, side * 0.13
        shape(pen.ellipse, cheek - 0.09, -0.66, cheek + 0.09, -0.5, "#463a36")
        shape(pen.ellipse, eye - 0.04, -0.76, eye + 0.04, -0.68, "#15100e")
        shape(pen.ellipse, eye - 0.01, -0.75, eye + 0.015, -0.725, "white")
    shape(pen.ellipse, -0.05, -0.68, 0.05, -0.61, "#15100e")
    return image


def test_bulldogs_by_another_hand_are_captioned(captioner):
    said = captioner([sketch(Random(seed)) for seed in range(20)])
    assert said.count(BULLDOG) >= 18


def test_red_and_blue_swapped_is_noticed(captioner, face):
    scenes, images = zip(*pictures(20, thing=None, side=None, background="blue"))
    images = [Image.merge("RGB", image.split()[::-1]) for image in (*images, face)]
    assert not any("blue background" in caption for caption in captioner(images))


def test_mirrored_picture_has_its_thing_on_the_other_side(captioner):
    scenes, images = zip(*pictures(20, thing="ball", side="left"))
    images = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
    right = [scene.caption.replace("left", "right") for scene in scenes]
    assert sum(map(str.__eq__, captioner(images), right)) >= 18


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_picture_that_lies_on_its_side_is_noticed(captioner, face, degrees):
    scenes, images = zip(*pictures(20, thing="bowl", side="right"))
    turned = [image.rotate(degrees, expand=True) for image in (face, *images)]
    dog, *said = captioner(turned)
    right = [scene.caption for scene in scenes]
    assert dog != BULLDOG and sum(map(str.__eq__, said, right)) <= 1
