"""The drawn world: its captions, its images, its held-out combinations."""

from random import Random

import numpy as np
import pytest

from demo.animals import ANIMALS, GARMENTS
from demo.colours import COLOURS
from demo.scenes import (
    CELL_COLOURS,
    CLASSES,
    HELD_OUT,
    Scene,
    draw,
    draw_with_maps,
    every_caption,
    sample,
)

MAX_WORDS = 14  # each is one token; the start and end tokens make it sixteen


def scenes(count: int, held_out: bool = False) -> list[Scene]:
    random = Random("tests")
    return [sample(random, held_out) for _ in range(count)]


@pytest.mark.parametrize(
    "scene, caption",
    [
        (
            Scene("french bulldog", "sweater", "yellow", "blue"),
            "a french bulldog in a yellow sweater on a blue background",
        ),
        (
            Scene("elephant", "hat", "red", "grass"),
            "an elephant in a red hat on the grass",
        ),
        (
            Scene("cat", "scarf", "green", "sea", "ball", "left"),
            "a cat in a green scarf with a ball on the left",
        ),
        (Scene("duck", background="snow"), "a duck in the snow"),
    ],
)
def test_caption_describes_the_scene(scene, caption):
    assert scene.caption == caption


def test_caption_fits_into_sixteen_tokens():
    assert max(len(caption.split()) for caption in every_caption()) <= MAX_WORDS


def test_every_scene_has_one_of_the_captions():
    captions = every_caption()
    assert len(set(captions)) == len(captions) == 6 * 19 * 20
    assert {scene.caption for scene in scenes(1000)} <= set(captions)


def test_held_out_combinations_are_drawn_only_on_request():
    assert not any(scene.held_out for scene in scenes(5000))


def test_held_out_scenes_cover_all_held_out_combinations():
    drawn = {(s.animal, s.garment, s.colour) for s in scenes(2000, held_out=True)}
    assert drawn == HELD_OUT


def test_held_out_combinations_are_spread_evenly():
    assert len(HELD_OUT) == 18
    for index, names, times in [(0, ANIMALS, 3), (1, GARMENTS, 6), (2, COLOURS, 3)]:
        found = [combination[index] for combination in HELD_OUT]
        assert all(found.count(name) == times for name in names)


def test_bulldog_in_a_yellow_sweater_is_not_held_out():
    assert ("french bulldog", "sweater", "yellow") not in HELD_OUT


def test_training_includes_every_word():
    words = {word for scene in scenes(5000) for word in scene.caption.split()}
    assert {*COLOURS, *GARMENTS, "left", "right", "sea", "room"} <= words


def test_same_seed_gives_the_same_image():
    one, other = (draw(sample(Random(3)), Random(4)) for _ in range(2))
    assert one.tobytes() == other.tobytes()


def test_another_seed_gives_another_image_of_the_same_scene():
    scene = sample(Random(3))
    assert draw(scene, Random(4)).tobytes() != draw(scene, Random(5)).tobytes()


@pytest.mark.parametrize("size", [224, 96, (320, 200), (200, 320)])
def test_image_has_the_requested_size(size):
    expected = (size, size) if isinstance(size, int) else size
    assert draw(scenes(1)[0], Random(0), size).size == expected


def test_box_of_the_animal_is_inside_the_image():
    for seed, scene in enumerate(scenes(40)):
        drawing = draw_with_maps(scene, Random(seed), (200, 150))
        left, top, right, bottom = drawing.box
        assert 0 <= left < right <= 200 and 0 <= top < bottom <= 150
        assert (right - left) * (bottom - top) > 0.02 * 200 * 150


def test_animal_on_the_class_map_is_inside_its_box():
    drawing = draw_with_maps(Scene("penguin", background="red"), Random(1))
    rows, columns = np.nonzero(drawing.class_map == CLASSES.index("penguin"))
    left, top, right, bottom = np.array(drawing.box) / 8
    assert left - 1 <= columns.min() and columns.max() <= right
    assert top - 1 <= rows.min() and rows.max() <= bottom
    assert CELL_COLOURS[drawing.colour_map[0, 0]] == "red"


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("thing", ["ball", "gift"])
def test_object_is_on_the_side_that_the_caption_names(side, thing):
    for seed in range(5):
        scene = Scene("rabbit", background="sea", thing=thing, side=side)
        drawing = draw_with_maps(scene, Random(seed))
        columns = np.nonzero(drawing.class_map == CLASSES.index(thing))[1]
        assert (columns.mean() < 13.5) == (side == "left")
        assert (columns.mean() * 8 < sum(drawing.box[::2]) / 2) == (side == "left")
