"""A small drawn world: animals in woollens, each picture with its one true caption.

    scene = sample(Random(0))
    scene.caption  # a french bulldog in a yellow sweater on a blue background
    image = draw(scene, Random(1))  # 224 by 224; another seed, another hand

A caption names the animal, what it wears, and either an object with its side or, where
there is none, the background. Some (animal, garment, colour) combinations are held out:
`sample` gives them only when asked, so that training never sees them.
"""

from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np
from PIL import Image

from demo.animals import ANIMALS, GARMENTS, draw_animal
from demo.backgrounds import PLACES, draw_background
from demo.objects import OBJECTS, draw_object
from demo.painting import CODES, COLOURS, Painter, Style, Tube, develop

CELLS = (
    28  # a side: a picture is told in cells, four to each of the captioner's patches
)

# the plain backgrounds count as one kind: their colour tells them apart
KINDS = ("plain", *PLACES, *ANIMALS, *GARMENTS, *OBJECTS)
TINTS = (None, *COLOURS)

HELD_OUT = frozenset(
    (animal, garment, list(COLOURS)[(row + 2 * column + 2) % len(COLOURS)])
    for row, animal in enumerate(ANIMALS)
    for column, garment in enumerate(GARMENTS)
)


@dataclass(frozen=True)
class Scene:
    """What a picture shows. `background` is a colour or a place."""

    animal: str
    garment: str | None = None
    colour: str | None = None
    background: str = "blue"
    thing: str | None = None
    side: str | None = None  # of the thing, as we see it: left or right

    @property
    def caption(self) -> str:
        """The one sentence that is right, of at most 14 words."""
        words = f"a{'n' if self.animal[0] in 'aeiou' else ''} {self.animal}"
        if self.garment:
            words += f" in a {self.colour} {self.garment}"
        if self.thing:
            return f"{words} with a {self.thing} on the {self.side}"
        plain = f"on a {self.background} background"
        return f"{words} {PLACES.get(self.background, plain)}"

    @property
    def held_out(self) -> bool:
        """Whether training never draws this animal in this garment of this colour."""
        return (self.animal, self.garment, self.colour) in HELD_OUT


@dataclass(frozen=True)
class Picture:
    """A drawn scene: the image, where the animal is, and what each cell shows."""

    scene: Scene
    image: Image.Image
    box: tuple[float, float, float, float]  # left, top, right, bottom, in pixels
    kinds: np.ndarray  # (28, 28), indices into KINDS
    tints: np.ndarray  # (28, 28), indices into TINTS


def sample(random: Random, held_out: bool = False) -> Scene:
    """A random scene, of the combinations held out from training or of the others."""
    garment = colour = None
    animal = random.choice(ANIMALS)
    if held_out:
        animal, garment, colour = random.choice(sorted(HELD_OUT))
    elif random.random() < 0.85:
        combinations = set(product([animal], GARMENTS, COLOURS)) - HELD_OUT
        animal, garment, colour = random.choice(sorted(combinations))
    # green wool on grass is hard to see for anybody
    hidden = {colour, "grass" if colour == "green" else colour}
    behind = [each for each in (*COLOURS, *PLACES) if each not in hidden]
    background = random.choice(behind)
    if random.random() < 0.6:
        return Scene(animal, garment, colour, background)
    thing, side = random.choice(OBJECTS), random.choice(["left", "right"])
    return Scene(animal, garment, colour, background, thing, side)


def every_caption() -> list[str]:
    """All that can be said in this world, in a fixed order."""
    worn = [(None, None), *product(GARMENTS, COLOURS)]
    behind = [(background, None, None) for background in (*COLOURS, *PLACES)]
    beside = [("blue", *thing) for thing in product(OBJECTS, ("left", "right"))]
    every = product(ANIMALS, worn, behind + beside)
    return [Scene(animal, *wear, *rest).caption for animal, wear, rest in every]


def draw(
    scene: Scene, random: Random, size: int | tuple[int, int] = 224
) -> Image.Image:
    """Draw a scene; `size` is a side, or width and height, in pixels."""
    return picture(scene, random, size).image


def picture(scene: Scene, random: Random, size: int | tuple[int, int] = 224) -> Picture:
    """Draw a scene and tell where the animal is and what each cell shows."""
    width, height = (size, size) if isinstance(size, int) else size
    painter = Painter(width, height, Style.sample(random), random)
    draw_background(painter, scene.background, _code(scene.background))
    behind = random.random() < 0.2
    if scene.thing and behind:
        _put_object(painter, scene)
    box = _put_animal(painter, scene)
    if scene.thing and not behind:
        _put_object(painter, scene)
    image = develop(painter.image, (width, height), random)
    left, top, right, bottom = box
    box = left * width, top * height, right * width, bottom * height
    kinds, tints = _cells(painter.codes)
    return Picture(scene, image, box, kinds, tints)


def _code(kind: str, tint: str | None = None) -> int:
    if kind in COLOURS:
        kind, tint = "plain", kind
    return KINDS.index(kind) * len(TINTS) + TINTS.index(tint)


def _put_animal(painter: Painter, scene: Scene) -> tuple[float, float, float, float]:
    random, width, height = painter.random, painter.width, painter.height
    scale = min(height * random.uniform(0.6, 0.95), width * random.uniform(0.7, 0.98))
    middle = random.uniform(0.3, 0.7)
    if scene.thing:
        scale *= 0.9
        middle = random.uniform(0.57, 0.72)
        middle = middle if scene.side == "left" else 1 - middle
    reach = min(0.45 * scale / width, 0.45)  # the head stays in the picture
    middle = min(max(middle, reach), 1 - reach)
    ground = random.uniform(max(scale * 1.1, height * 0.75), height * 1.04)
    if random.random() < 0.06 and not scene.thing:
        scale, ground = scale * 1.3, height * random.uniform(1.1, 1.35)
    tilt = random.gauss(0, 0.07)
    mirror, warp = random.random() < 0.5, painter.style.warp
    painter.place(width * middle, ground, scale, tilt, mirror, warp)
    if painter.style.shadow:
        painter.shade(Tube.ellipse(0, 0, 0.4, 0.05), painter.style.shadow, 0.04)
    painter.code = _code(scene.animal)
    worn = _code(scene.garment, scene.colour) if scene.garment else 0
    draw_animal(painter, scene.animal, scene.garment, scene.colour, worn)
    return painter.box()


def _put_object(painter: Painter, scene: Scene) -> None:
    random, width, height = painter.random, painter.width, painter.height
    middle = random.uniform(0.11, 0.24)
    middle = middle if scene.side == "left" else 1 - middle
    scale = min(width, height) * random.uniform(0.27, 0.42)
    ground = height * random.uniform(0.72, 0.98)
    painter.place(width * middle, ground, scale, random.gauss(0, 0.08))
    if painter.style.shadow:
        painter.shade(Tube.ellipse(0, 0, 0.4, 0.06), painter.style.shadow, 0.05)
    painter.code = _code(scene.thing)
    draw_object(painter, scene.thing)


def _cells(codes: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """What most of each cell shows, small things counting more: kinds and tints."""
    side = CODES // CELLS
    pixels = np.asarray(codes, int).reshape(CELLS, side, CELLS, side)
    cell = np.arange(CELLS**2).reshape(CELLS, 1, CELLS, 1)
    many = len(KINDS) * len(TINTS)
    counts = np.bincount((cell * many + pixels).ravel(), minlength=CELLS**2 * many)
    weights = [
        3 if kind in GARMENTS else 2 if kind in (*ANIMALS, *OBJECTS) else 1
        for kind in KINDS
    ]
    counts = counts.reshape(CELLS**2, many) * np.repeat(weights, len(TINTS))
    code = counts.argmax(1).reshape(CELLS, CELLS)
    return code // len(TINTS), code % len(TINTS)
