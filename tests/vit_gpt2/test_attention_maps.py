"""Where the captioner looked, on pictures of which we know where everything is.

`python -m tests.vit_gpt2.test_attention_maps` tells the same of 500 pictures.
"""

from random import Random

import numpy as np
import pytest
from PIL import Image
from werkzeug.datastructures import MultiDict

from demo import scenes
from vit_gpt2.attention_maps import Asked
from endpoint.uploads import Upload
from endpoint.model import Model


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENDPOINT_MODEL", "demo")
        yield Model("cpu")


def shown(count: int) -> list:
    randoms = (Random(f"explained {number}") for number in range(count))
    return [scenes.picture(scenes.sample(random), random) for random in randoms]


def explained(model: Model, pictures: list) -> list[dict]:
    images = [picture.image.resize((224, 224)) for picture in pictures]
    outputs = model.predict([Asked(np.asarray(image)) for image in images])
    return [model.encode(output) for output in outputs]


def gains(answers: list[dict], pictures: list, name: str) -> list[float]:
    """How many times chance a noun's map has of its mass in the box of what it names.

    The box is that of the cells that show it; a picture's caption has to name it.
    """
    found = []
    for answer, picture in zip(answers, pictures):
        noun = (getattr(picture.scene, name) or "").split()[-1:]
        kind = getattr(picture.scene, name)
        maps = [each["map"] for each in answer["words"] if [each["word"]] == noun]
        cells = np.argwhere(picture.kinds == scenes.KINDS.index(kind)) if kind else []
        if not maps or not len(cells):
            continue
        (top, left), (bottom, right) = cells.min(0) // 2, cells.max(0) // 2 + 1
        inside = np.array(maps[0])[top:bottom, left:right].sum()
        found.append(inside * 14 * 14 / ((bottom - top) * (right - left)))
    return found


@pytest.fixture(scope="module")
def pictures():
    return shown(60)


@pytest.fixture(scope="module")
def answers(model, pictures):
    return explained(model, pictures)


def test_words_are_those_of_the_caption(answers):
    for answer in answers:
        assert " ".join(each["word"] for each in answer["words"]) == answer["caption"]


def test_maps_sum_to_one(answers):
    maps = np.array([each["map"] for answer in answers for each in answer["words"]])
    assert maps.shape[1:] == (14, 14)
    assert maps.sum((1, 2)) == pytest.approx(1, abs=1e-3)


def test_maps_change_with_the_picture(answers):
    first, second = (np.array(answer["words"][1]["map"]) for answer in answers[:2])
    assert np.abs(first - second).sum() > 0.1


@pytest.mark.parametrize("name", ["animal", "garment", "thing"])
def test_map_of_a_noun_lies_on_what_it_names(answers, pictures, name):
    assert np.mean(gains(answers, pictures, name)) > 2


def test_explained_caption_is_the_plain_one(model, answers, pictures):
    image = np.asarray(pictures[0].image.resize((224, 224)))
    (plain,) = model.predict([image])
    assert model.encode(plain) == {"caption": answers[0]["caption"]}


def test_explanation_is_asked_for_by_a_field_and_has_batches_of_its_own(model):
    plain = model.decode(model.example)
    asked = model.decode(Upload(model.example.data, fields=MultiDict({"explain": 1})))
    assert isinstance(asked, Asked) and (asked.image == plain).all()
    assert model.batch_key(asked) != model.batch_key(plain)


def test_sheet_shows_the_picture_once_for_each_word(model):
    upload = Upload(model.example.data, fields=MultiDict({"explain": 1}))
    (output,) = model.predict([model.decode(upload)])
    sheet = model.draw(output)
    assert isinstance(sheet, Image.Image)
    assert sheet.size == (4 * 224, 3 * (224 + 20))  # eleven words in rows of four
    assert model.draw("a plain caption") is None


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENDPOINT_MODEL", "demo")
        captioner, many = Model("cpu"), shown(500)
        told = explained(captioner, many)
        for name in ("animal", "garment", "thing"):
            found = gains(told, many, name)
            print(f"{name}: {np.mean(found):.2f} times chance on {len(found)} pictures")
