"""Random scenes of a small drawn world, each as an image and its only right caption.

    scene = sample(Random(0))
    scene.caption  # a french bulldog in a yellow sweater on a blue background
    image = draw(scene, Random(1))  # 224 x 224 pixels, in a style that the seed decides

A caption names the animal and what it wears. Then it names the object next to the
animal and its side or, if there is no object, the background. Training never draws some
combinations of animal, garment and colour: `sample` returns one of these only with
`held_out=True`.
"""

from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np
from PIL import Image

from demo.animals import ANIMALS, GARMENTS
from demo.backgrounds import PLACES, draw_background
from demo.colours import COLOURS
from demo.objects import OBJECTS, draw_object
from demo.painting import LABEL_SIDE, Painter, Style, augment
from demo.poses import draw_animal
from demo.tubes import Tube

CELLS = 28  # cells a side of the two maps; four cells make a patch of the captioner

# The classes and the colours of a cell. All plain backgrounds are one class.
CLASSES = ("plain", *PLACES, *ANIMALS, *GARMENTS, *OBJECTS)
CELL_COLOURS = (None, *COLOURS)

HELD_OUT = frozenset(
    (animal, garment, list(COLOURS)[(row + 2 * column + 2) % len(COLOURS)])
    for row, animal in enumerate(ANIMALS)
    for column, garment in enumerate(GARMENTS)
)


@dataclass(frozen=True)
class Scene:
    """The content of an image; `background` is a colour or a place."""

    animal: str
    garment: str | None = None
    colour: str | None = None
    background: str = "blue"
    thing: str | None = None
    side: str | None = None  # of the image on which the thing is: left or right

    @property
    def caption(self) -> str:
        """The only right caption, of at most 14 words."""
        words = f"a{'n' if self.animal[0] in 'aeiou' else ''} {self.animal}"
        if self.garment:
            words += f" in a {self.colour} {self.garment}"
        if self.thing:
            return f"{words} with a {self.thing} on the {self.side}"
        plain = f"on a {self.background} background"
        return f"{words} {PLACES.get(self.background, plain)}"

    @property
    def held_out(self) -> bool:
        """Whether training never draws this animal in this garment and colour."""
        return (self.animal, self.garment, self.colour) in HELD_OUT


@dataclass(frozen=True)
class Drawing:
    """A scene with its image and what the image shows where."""

    scene: Scene
    image: Image.Image
    box: tuple[float, float, float, float]  # left, top, right, bottom of the animal
    class_map: np.ndarray  # (28, 28), indices into CLASSES
    colour_map: np.ndarray  # (28, 28), indices into CELL_COLOURS


def sample(random: Random, held_out: bool = False) -> Scene:
    """Return a random scene whose combination is, or is not, held out."""
    garment = colour = None
    animal = random.choice(ANIMALS)
    if held_out:
        animal, garment, colour = random.choice(sorted(HELD_OUT))
    elif random.random() < 0.85:
        combinations = set(product([animal], GARMENTS, COLOURS)) - HELD_OUT
        animal, garment, colour = random.choice(sorted(combinations))
    # Green wool would be invisible on grass.
    hidden = {colour, "grass" if colour == "green" else colour}
    behind = [each for each in (*COLOURS, *PLACES) if each not in hidden]
    background = random.choice(behind)
    if random.random() < 0.6:
        return Scene(animal, garment, colour, background)
    thing, side = random.choice(OBJECTS), random.choice(["left", "right"])
    return Scene(animal, garment, colour, background, thing, side)


def every_caption() -> list[str]:
    """Return all captions of this world in a fixed order."""
    worn = [(None, None), *product(GARMENTS, COLOURS)]
    behind = [(background, None, None) for background in (*COLOURS, *PLACES)]
    beside = [("blue", *thing) for thing in product(OBJECTS, ("left", "right"))]
    every = product(ANIMALS, worn, behind + beside)
    return [Scene(animal, *wear, *rest).caption for animal, wear, rest in every]


def draw(
    scene: Scene, random: Random, size: int | tuple[int, int] = 224
) -> Image.Image:
    """Return a scene's image; `size` is its side, or width and height, in pixels."""
    return draw_with_maps(scene, random, size).image


def draw_with_maps(
    scene: Scene, random: Random, size: int | tuple[int, int] = 224
) -> Drawing:
    """Return a scene's image with the animal's box and the maps of the cells."""
    width, height = (size, size) if isinstance(size, int) else size
    painter = Painter(width, height, Style.sample(random), random)
    draw_background(painter, scene.background, _label(scene.background))
    behind = random.random() < 0.2
    if scene.thing and behind:
        _put_object(painter, scene)
    box = _put_animal(painter, scene)
    if scene.thing and not behind:
        _put_object(painter, scene)
    image = augment(painter.image, (width, height), random)
    left, top, right, bottom = box
    box = left * width, top * height, right * width, bottom * height
    return Drawing(scene, image, box, *_maps(painter.labels))


def _label(name: str, colour: str | None = None) -> int:
    if name in COLOURS:
        name, colour = "plain", name
    return CLASSES.index(name) * len(CELL_COLOURS) + CELL_COLOURS.index(colour)


def _put_animal(painter: Painter, scene: Scene) -> tuple[float, float, float, float]:
    random, width, height = painter.random, painter.width, painter.height
    scale = min(height * random.uniform(0.6, 0.95), width * random.uniform(0.7, 0.98))
    middle = random.uniform(0.3, 0.7)
    if scene.thing:
        scale *= 0.9
        middle = random.uniform(0.57, 0.72)
        middle = middle if scene.side == "left" else 1 - middle
    reach = min(0.45 * scale / width, 0.45)  # The head stays in the image.
    middle = min(max(middle, reach), 1 - reach)
    ground = random.uniform(max(scale * 1.1, height * 0.75), height * 1.04)
    if random.random() < 0.06 and not scene.thing:
        scale, ground = scale * 1.3, height * random.uniform(1.1, 1.35)
    tilt = random.gauss(0, 0.07)
    mirror, warp = random.random() < 0.5, painter.style.warp
    painter.place(width * middle, ground, scale, tilt, mirror, warp)
    if painter.style.shadow:
        painter.shadow(Tube.ellipse(0, 0, 0.4, 0.05), painter.style.shadow, 0.04)
    painter.label = _label(scene.animal)
    label = _label(scene.garment, scene.colour) if scene.garment else 0
    draw_animal(painter, scene.animal, scene.garment, scene.colour, label)
    return painter.box()


def _put_object(painter: Painter, scene: Scene) -> None:
    random, width, height = painter.random, painter.width, painter.height
    middle = random.uniform(0.11, 0.24)
    middle = middle if scene.side == "left" else 1 - middle
    scale = min(width, height) * random.uniform(0.27, 0.42)
    ground = height * random.uniform(0.72, 0.98)
    painter.place(width * middle, ground, scale, random.gauss(0, 0.08))
    if painter.style.shadow:
        painter.shadow(Tube.ellipse(0, 0, 0.4, 0.06), painter.style.shadow, 0.05)
    painter.label = _label(scene.thing)
    draw_object(painter, scene.thing)


def _maps(labels: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Return the class and the colour of each cell: what most of its pixels show.

    Pixels of small things count more.
    """
    side = LABEL_SIDE // CELLS
    pixels = np.asarray(labels, int).reshape(CELLS, side, CELLS, side)
    cell = np.arange(CELLS**2).reshape(CELLS, 1, CELLS, 1)
    count = len(CLASSES) * len(CELL_COLOURS)
    pairs = (cell * count + pixels).ravel()
    pixels_each = np.bincount(pairs, minlength=CELLS**2 * count)
    weights = [
        3 if name in GARMENTS else 2 if name in (*ANIMALS, *OBJECTS) else 1
        for name in CLASSES
    ]
    weights = np.repeat(weights, len(CELL_COLOURS))
    label = (pixels_each.reshape(CELLS**2, count) * weights).argmax(1)
    return np.divmod(label.reshape(CELLS, CELLS), len(CELL_COLOURS))
