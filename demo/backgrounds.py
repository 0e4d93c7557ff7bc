"""The background of an animal: a plain colour in many patterns, or a place."""

import math
from random import Random

import numpy as np
from PIL import Image

from demo.colours import COLOURS, hsv, lighten, mix, random_colour
from demo.painting import Painter
from demo.tubes import Tube

PLACES = {
    "grass": "on the grass",
    "sea": "by the sea",
    "snow": "in the snow",
    "room": "in a room",
}

# The ranges for plain backgrounds, which may be paler than wool of the same name.
PLAIN = {
    "red": ((-8, 6), (0.68, 1.0), (0.5, 0.95)),
    "yellow": ((44, 58), (0.5, 1.0), (0.86, 1.0)),
    "green": ((92, 155), (0.3, 0.9), (0.35, 0.9)),
    "blue": ((197, 230), (0.34, 1.0), (0.35, 1.0)),
    "purple": ((264, 285), (0.38, 0.9), (0.4, 0.85)),
    "pink": ((326, 347), (0.22, 0.5), (0.92, 1.0)),
}


def draw_background(painter: Painter, name: str, label: int) -> None:
    """Cover the whole image and its map of labels."""
    painter.label = label
    if name in COLOURS:
        _plain(painter, name)
    else:
        DRAWINGS[name](painter)


def pattern(random: Random, names: tuple[str, ...]) -> np.ndarray:
    """Return a pattern (96, 96) of about 0 to 1: one of those named."""
    y, x = np.mgrid[0:1:96j, 0:1:96j]
    angle, count = random.uniform(-math.pi, math.pi), random.uniform(4, 16)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    match random.choice(names):
        case "slope":
            return 0.5 + along * 0.6
        case "spot":
            return 1.1 - np.hypot(x - random.random(), y - random.random())
        case "fall":
            return np.where(
                y > random.uniform(0.5, 0.85), random.uniform(0.1, 0.5), 0.9
            )
        case "cove":
            return np.clip((random.uniform(0.6, 0.9) - y) * 8, 0.2, 0.8)
        case "stripes":
            return np.sin(along * count * 6) > random.uniform(-0.5, 0.5)
        case "dots":
            return np.sin(along * count * 5) * np.sin(across * count * 5) > 0.45
        case "clouds":
            return _clouds(random, random.randint(3, 20))
    return np.full_like(x, 0.5)


def _clouds(random: Random, detail: int) -> np.ndarray:
    numbers = np.random.default_rng(random.getrandbits(64))
    image = Image.fromarray(numbers.integers(0, 255, (detail, detail), np.uint8))
    return np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC)) / 255


PATTERNS = (
    "flat",
    "slope",
    "slope",
    "spot",
    "fall",
    "cove",
    "stripes",
    "dots",
    "clouds",
)


def _plain(painter: Painter, name: str) -> None:
    random = painter.random
    one = random_colour(random, *PLAIN[name])
    contrast = random.uniform(0.05, 0.28)
    other = lighten(
        one, -contrast if name == "pink" else random.choice([-1, 1]) * contrast
    )
    if name in ("red", "yellow", "pink"):
        other = mix(one, other, 0.5)  # Pale red is pink, and dark yellow is brown.
    both = pattern(random, PATTERNS) * random.uniform(0.4, 1)
    both += 0.3 * pattern(random, PATTERNS)
    painter.band(one, other, both)
    if random.random() < 0.1:
        for _ in range(random.randint(3, 9)):
            shade = mix(one, other, random.uniform(0.3, 0.9))
            _spot(painter, shade, (0.02, 0.1), edge=False)


def _spot(painter, colour, sizes, top=0.0, bottom=1.0, flat=1.0, edge=True) -> None:
    """Draw an ellipse at a random place between two heights.

    The sizes are shares of the height.
    """
    random = painter.random
    x = random.random() * painter.width
    y = random.uniform(top, bottom) * painter.height
    painter.place(x, y, painter.height * random.uniform(*sizes))
    painter.fill(
        Tube.ellipse(0, 0, 1, flat), colour, edge=edge and random.random() < 0.2
    )


def _sky(painter: Painter, horizon: float) -> None:
    random = painter.random
    day = random_colour(random, (195, 225), (0.15, 0.7), (0.75, 1.0))
    dusk = random_colour(random, (20, 50), (0.1, 0.4), (0.85, 1.0))
    sky = random.choice([day, day, day, dusk])
    low = lighten(sky, random.uniform(0, 0.7))
    painter.band(sky, low, np.linspace(1, 0, 16)[:, None], 0, horizon + 0.01)
    if random.random() < 0.4:
        for _ in range(random.randint(2, 6)):
            _spot(painter, (250, 250, 252), (0.04, 0.1), 0, horizon * 0.6, 0.5)
    if random.random() < 0.2:
        _spot(painter, (255, 235, 150), (0.05, 0.09), 0, horizon * 0.5)


def _grass(painter: Painter) -> None:
    random = painter.random
    horizon = random.uniform(0.2, 0.65) if random.random() < 0.85 else 0
    if horizon:
        _sky(painter, horizon)
    green = random_colour(random, (78, 135), (0.45, 0.9), (0.35, 0.8))
    other = lighten(green, random.uniform(-0.35, 0.3))
    # Without a horizon only the blades distinguish grass from a plain green.
    patterns = ("slope", "clouds", "stripes", "clouds") if horizon else ("clouds",)
    painter.band(green, other, pattern(random, patterns), horizon, 1)
    painter.place(0, 0, painter.height)
    ratio, blade = painter.width / painter.height, random.uniform(0.02, 0.08)
    for x, y in painter.generator.random(
        (random.randint(80 if horizon else 160, 240), 2)
    ):
        y = horizon + y * (1 - horizon) + 0.02
        size = blade * (0.4 + y)
        lean = random.uniform(-0.5, 0.5) * size
        ink = lighten(green, random.uniform(-0.4, 0.35))
        points = [(x * ratio, y), (x * ratio + lean, y - size)]
        painter.line(points, ink, random.uniform(0.003, 0.008))
    if random.random() < 0.3:
        for _ in range(random.randint(4, 12)):
            colour = hsv(random.uniform(0, 360), random.uniform(0, 0.8), 1)
            _spot(painter, colour, (0.008, 0.018), horizon + 0.05, 1)


def _sea(painter: Painter) -> None:
    random = painter.random
    horizon, beach = random.uniform(0.15, 0.45), random.uniform(0.6, 0.85)
    _sky(painter, horizon)
    water = random_colour(random, (185, 220), (0.5, 0.95), (0.4, 0.85))
    other = lighten(water, random.uniform(-0.3, 0.35))
    painter.band(water, other, np.linspace(0, 1, 16)[:, None], horizon, beach)
    painter.place(0, 0, painter.height)
    ratio = painter.width / painter.height
    foam, width = lighten(water, random.uniform(0.4, 0.9)), random.uniform(0.004, 0.012)
    for _ in range(random.randint(14, 40)):
        x, y = random.random() * ratio, random.uniform(horizon + 0.02, beach)
        long = random.uniform(0.03, 0.12)
        wave = [(x, y), (x + long / 2, y - 0.015), (x + long, y)]
        painter.line(wave, foam, width)
    sand = random_colour(random, (33, 46), (0.2, 0.5), (0.75, 0.97))
    darker = lighten(sand, -random.uniform(0.05, 0.25))
    painter.band(sand, darker, pattern(random, ("slope", "clouds")), beach, 1)
    x = np.linspace(0, ratio, 20)
    edge = np.stack([x, beach + 0.012 * np.sin(x * random.uniform(8, 20))], 1)
    painter.line(edge, (250, 252, 252), random.uniform(0.01, 0.03))


def _snow(painter: Painter) -> None:
    random = painter.random
    horizon = random.choice([0.01, random.uniform(0.2, 0.6), random.uniform(0.2, 0.6)])
    dim = random_colour(random, (200, 235), (0.05, 0.35), (0.5, 0.95))
    painter.band(dim, lighten(dim, 0.5), np.linspace(1, 0, 9)[:, None], 0, horizon)
    if horizon > 0.1 and random.random() < 0.6:
        for _ in range(random.randint(2, 6)):
            _fir(painter, horizon)
    shade = random_colour(random, (200, 230), (0.02, 0.14), (0.82, 0.95))
    patterns = ("slope", "clouds", "spot")
    painter.band((252, 253, 255), shade, pattern(random, patterns), horizon, 1)
    size = random.uniform(0.005, 0.014)
    flake = (255, 255, 255) if horizon > 0.1 else lighten(shade, -0.08)
    for _ in range(random.randint(25, 70)):
        _spot(painter, flake, (size * 0.6, size * 1.3))


def _fir(painter: Painter, horizon: float) -> None:
    random = painter.random
    green = random_colour(random, (120, 165), (0.2, 0.6), (0.25, 0.5))
    height = painter.height * random.uniform(0.15, 0.35)
    x = random.random() * painter.width
    painter.place(x, (horizon + 0.03) * painter.height, height)
    for low in (0, -0.25, -0.5):
        layer = (0, low, 0.3 + low * 0.25), (0, low - 0.5, 0)
        painter.fill(Tube.through(*layer, round_start=False, round_end=False), green)
    top = (0, -0.75, 0.1), (0, -1, 0)
    white = Tube.through(*top, round_start=False, round_end=False)
    painter.fill(white, (250, 250, 255), edge=False)


def _room(painter: Painter) -> None:
    random = painter.random
    floor = random.uniform(0.6, 0.85)
    wall = hsv(
        random.uniform(0, 360), random.uniform(0.03, 0.28), random.uniform(0.6, 0.97)
    )
    other = lighten(wall, random.uniform(-0.12, 0.1))
    patterns = ("flat", "slope", "stripes", "spot")
    painter.band(wall, other, pattern(random, patterns), 0, floor)
    _frame(painter, floor)
    wood = random_colour(random, (18, 36), (0.3, 0.65), (0.35, 0.75))
    painter.band(
        wood, lighten(wood, -0.2), pattern(random, ("slope", "clouds")), floor, 1
    )
    painter.place(0, 0, painter.height)
    ratio = painter.width / painter.height
    for y in np.linspace(floor, 1, random.randint(3, 6))[1:]:
        painter.line([(0, y), (ratio, y)], lighten(wood, -0.35), 0.006)
        x = random.random() * ratio
        painter.line([(x, y), (x, y - 0.06)], lighten(wood, -0.35), 0.006)
    skirting = random.choice(
        [(245, 245, 240), lighten(wood, -0.3), lighten(wall, -0.3)]
    )
    painter.line([(0, floor), (ratio, floor)], skirting, random.uniform(0.02, 0.05))


def _frame(painter: Painter, floor: float) -> None:
    """Draw a window or a painting on the left or the right of the wall."""
    random = painter.random
    x = random.choice([random.uniform(0.1, 0.3), random.uniform(0.7, 0.9)])
    wide, high = random.uniform(0.14, 0.24), random.uniform(0.16, 0.26)
    painter.place(x * painter.width, (0.06 + high) * painter.height, painter.height)
    flat = {"round_start": False, "round_end": False}
    frame = random.choice(
        [(245, 243, 238), (110, 75, 45), (50, 45, 45), (190, 150, 70)]
    )
    outer = Tube.through((0, -high, wide + 0.03), (0, high, wide + 0.03), **flat)
    painter.fill(outer, frame)
    window = random.random() < 0.6
    pane = random_colour(random, (195, 220), (0.15, 0.5), (0.8, 1.0))
    inside = pane if window else hsv(random.random() * 360, 0.4, random.uniform(0.5, 1))
    inner = Tube.through((0, 0.03 - high, wide), (0, high - 0.03, wide), **flat)
    painter.fill(inner, inside, edge=False)
    if window:
        painter.line([(0, -high), (0, high)], frame, 0.02)
        painter.line([(-wide, 0), (wide, 0)], frame, 0.02)


DRAWINGS = {"grass": _grass, "sea": _sea, "snow": _snow, "room": _room}
