"""The attention maps show where things are, in drawn images whose contents we know.

`python -m tests.vit_gpt2.test_attention_maps` measures the same on 500 images.
"""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from PIL import Image

from demo import scenes
from examples.explain_caption import Model
from model_interface.files import Upload
from tests.vit_gpt2.reference import DEVICES

NOUNS = ["animal", "garment", "thing"]  # attributes of a scene
PATCHES = 14  # on each side of an image


@pytest.fixture(scope="module", params=DEVICES)
def model(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENDPOINT_MODEL", "demo")
        yield Model(request.param)


def upload(**fields: bool) -> Upload:
    example = Upload.from_file("french_bulldog.jpg")
    return replace(example, fields=Model.Fields(**fields))


def draw_scenes(count: int) -> list:
    """Draw random scenes; each drawing knows which thing is where."""
    randoms = (Random(f"explained {number}") for number in range(count))
    return [scenes.draw_with_maps(scenes.sample(random), random) for random in randoms]


def explain(model: Model, drawings: list) -> list[dict]:
    images = [np.asarray(drawing.image.resize((224, 224))) for drawing in drawings]
    outputs = model.predict([(image, True) for image in images])
    return [model.encode(output) for output in outputs]


def gains(answers: list[dict], drawings: list, name: str) -> list[float]:
    """Return how much more than chance each map of a noun has on what it names.

    A map's share inside the box around the thing is divided by the box's share of the
    image. Captions that do not name the thing are left out.
    """
    found = []
    for answer, drawing in zip(answers, drawings):
        kind = getattr(drawing.scene, name)
        noun = (kind or "").split()[-1:]
        maps = [each["map"] for each in answer["words"] if [each["word"]] == noun]
        if not maps:
            continue
        cells = np.argwhere(drawing.class_map == scenes.CLASSES.index(kind))
        if not len(cells):
            continue
        (top, left), (bottom, right) = cells.min(0) // 2, cells.max(0) // 2 + 1
        share = np.array(maps[0])[top:bottom, left:right].sum()
        found.append(share * PATCHES**2 / ((bottom - top) * (right - left)))
    return found


@pytest.fixture(scope="module")
def drawings():
    return draw_scenes(60)


@pytest.fixture(scope="module")
def answers(model, drawings):
    return explain(model, drawings)


def test_words_together_are_the_caption(answers):
    for answer in answers:
        assert " ".join(each["word"] for each in answer["words"]) == answer["caption"]


def test_maps_sum_to_one(answers):
    maps = np.array([each["map"] for answer in answers for each in answer["words"]])
    assert maps.shape[1:] == (PATCHES, PATCHES)
    assert maps.sum((1, 2)) == pytest.approx(1, abs=1e-3)


def test_maps_differ_between_images(answers):
    first, second = (np.array(answer["words"][1]["map"]) for answer in answers[:2])
    assert np.abs(first - second).sum() > 0.1


@pytest.mark.parametrize("name", NOUNS)
def test_map_of_a_noun_is_on_the_thing_it_names(answers, drawings, name):
    assert np.mean(gains(answers, drawings, name)) > 2


def test_explained_caption_equals_the_plain_caption(model, answers, drawings):
    image = np.asarray(drawings[0].image.resize((224, 224)))
    (plain,) = model.predict([(image, False)])
    assert model.encode(plain) == {"caption": answers[0]["caption"]}


def test_field_asks_for_an_explanation_in_a_batch_of_its_own(model):
    plain = model.decode(upload(explain=False))
    request = model.decode(upload(explain=True))
    assert (request[0] == plain[0]).all() and request[1]
    assert model.batch_key(request) != model.batch_key(plain)


def test_grid_shows_the_image_once_for_each_word(model):
    (output,) = model.predict([model.decode(upload(explain=True))])
    grid = model.draw(output)
    assert isinstance(grid, Image.Image)
    assert grid.size == (4 * 224, 3 * (224 + 20))  # eleven words in rows of four
    assert model.draw("a plain caption") is None


def main() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENDPOINT_MODEL", "demo")
        model, drawings = Model("cpu"), draw_scenes(500)
    answers = explain(model, drawings)
    for name in NOUNS:
        found = gains(answers, drawings, name)
        print(f"{name}: {np.mean(found):.2f} times chance in {len(found)} images")


if __name__ == "__main__":
    main()
