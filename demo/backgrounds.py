"""What is behind an animal: a plain colour in many guises, or one of four places."""

import math
from random import Random

import numpy as np
from PIL import Image

from demo.painting import COLOURS, Painter, Tube, between, hsv, lighter, mix

PLACES = {
    "grass": "on the grass",
    "sea": "by the sea",
    "snow": "in the snow",
    "room": "in a room",
}

# plain backgrounds may be paler than wool, as far as their name still holds
PAPER = {
    "red": ((-8, 6), (0.68, 1.0), (0.5, 0.95)),
    "yellow": ((44, 58), (0.5, 1.0), (0.86, 1.0)),
    "green": ((92, 155), (0.3, 0.9), (0.35, 0.9)),
    "blue": ((197, 230), (0.34, 1.0), (0.35, 1.0)),
    "purple": ((264, 285), (0.38, 0.9), (0.4, 0.85)),
    "pink": ((326, 347), (0.22, 0.5), (0.92, 1.0)),
}


def draw_background(painter: Painter, name: str, code: int) -> None:
    """Cover the paper; `code` is remembered everywhere."""
    painter.code = code
    if name in COLOURS:
        _plain(painter, name)
    else:
        DRAWINGS[name](painter)


def tone(random: Random, forms: tuple[str, ...]) -> np.ndarray:
    """A pattern of lights and darks, (96, 96) in 0..1."""
    y, x = np.mgrid[0:1:96j, 0:1:96j]
    angle, count = random.uniform(-math.pi, math.pi), random.uniform(4, 16)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    match random.choice(forms):
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


FORMS = ("flat", "slope", "slope", "spot", "fall", "cove", "stripes", "dots", "clouds")


def _plain(painter: Painter, name: str) -> None:
    random = painter.random
    one = between(random, *PAPER[name])
    contrast = random.uniform(0.05, 0.28)
    other = lighter(
        one, -contrast if name == "pink" else random.choice([-1, 1]) * contrast
    )
    if name in ("red", "yellow", "pink"):
        other = mix(one, other, 0.5)  # pale red is pink, and dark yellow is brown
    pattern = tone(random, FORMS) * random.uniform(0.4, 1) + 0.3 * tone(random, FORMS)
    painter.cover(one, other, pattern)
    if random.random() < 0.1:
        for _ in range(random.randint(3, 9)):
            shade = mix(one, other, random.uniform(0.3, 0.9))
            _spot(painter, shade, (0.02, 0.1), edge=False)


def _spot(painter, colour, sizes, top=0.0, bottom=1.0, flat=1.0, edge=True) -> None:
    """An ellipse somewhere between two heights; sizes are shares of the height."""
    random = painter.random
    x = random.random() * painter.width
    y = random.uniform(top, bottom) * painter.height
    painter.place(x, y, painter.height * random.uniform(*sizes))
    painter.fill(
        Tube.ellipse(0, 0, 1, flat), colour, edge=edge and random.random() < 0.2
    )


def _sky(painter: Painter, horizon: float) -> None:
    random = painter.random
    day = between(random, (195, 225), (0.15, 0.7), (0.75, 1.0))
    dusk = between(random, (20, 50), (0.1, 0.4), (0.85, 1.0))
    sky = random.choice([day, day, day, dusk])
    low = lighter(sky, random.uniform(0, 0.7))
    painter.cover(sky, low, np.linspace(1, 0, 16)[:, None], 0, horizon + 0.01)
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
    green = between(random, (78, 135), (0.45, 0.9), (0.35, 0.8))
    other = lighter(green, random.uniform(-0.35, 0.3))
    # without a horizon nothing but the blades tells a meadow from green paper
    forms = ("slope", "clouds", "stripes", "clouds") if horizon else ("clouds",)
    painter.cover(green, other, tone(random, forms), horizon, 1)
    painter.place(0, 0, painter.height)
    ratio, blade = painter.width / painter.height, random.uniform(0.02, 0.08)
    for x, y in painter.numbers.random(
        (random.randint(80 if horizon else 160, 240), 2)
    ):
        y = horizon + y * (1 - horizon) + 0.02
        size = blade * (0.4 + y)
        lean = random.uniform(-0.5, 0.5) * size
        ink = lighter(green, random.uniform(-0.4, 0.35))
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
    water = between(random, (185, 220), (0.5, 0.95), (0.4, 0.85))
    other = lighter(water, random.uniform(-0.3, 0.35))
    painter.cover(water, other, np.linspace(0, 1, 16)[:, None], horizon, beach)
    painter.place(0, 0, painter.height)
    ratio = painter.width / painter.height
    foam, width = lighter(water, random.uniform(0.4, 0.9)), random.uniform(0.004, 0.012)
    for _ in range(random.randint(14, 40)):
        x, y = random.random() * ratio, random.uniform(horizon + 0.02, beach)
        long = random.uniform(0.03, 0.12)
        wave = [(x, y), (x + long / 2, y - 0.015), (x + long, y)]
        painter.line(wave, foam, width)
    sand = between(random, (33, 46), (0.2, 0.5), (0.75, 0.97))
    darker = lighter(sand, -random.uniform(0.05, 0.25))
    painter.cover(sand, darker, tone(random, ("slope", "clouds")), beach, 1)
    x = np.linspace(0, ratio, 20)
    edge = np.stack([x, beach + 0.012 * np.sin(x * random.uniform(8, 20))], 1)
    painter.line(edge, (250, 252, 252), random.uniform(0.01, 0.03))


def _snow(painter: Painter) -> None:
    random = painter.random
    horizon = random.choice([0.01, random.uniform(0.2, 0.6), random.uniform(0.2, 0.6)])
    dim = between(random, (200, 235), (0.05, 0.35), (0.5, 0.95))
    painter.cover(dim, lighter(dim, 0.5), np.linspace(1, 0, 9)[:, None], 0, horizon)
    if horizon > 0.1 and random.random() < 0.6:
        for _ in range(random.randint(2, 6)):
            _fir(painter, horizon)
    shade = between(random, (200, 230), (0.02, 0.14), (0.82, 0.95))
    forms = ("slope", "clouds", "spot")
    painter.cover((252, 253, 255), shade, tone(random, forms), horizon, 1)
    size = random.uniform(0.005, 0.014)
    flake = (255, 255, 255) if horizon > 0.1 else lighter(shade, -0.08)
    for _ in range(random.randint(25, 70)):
        _spot(painter, flake, (size * 0.6, size * 1.3))


def _fir(painter: Painter, horizon: float) -> None:
    random = painter.random
    green = between(random, (120, 165), (0.2, 0.6), (0.25, 0.5))
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
    other = lighter(wall, random.uniform(-0.12, 0.1))
    forms = ("flat", "slope", "stripes", "spot")
    painter.cover(wall, other, tone(random, forms), 0, floor)
    _frame(painter, floor)
    wood = between(random, (18, 36), (0.3, 0.65), (0.35, 0.75))
    painter.cover(
        wood, lighter(wood, -0.2), tone(random, ("slope", "clouds")), floor, 1
    )
    painter.place(0, 0, painter.height)
    ratio = painter.width / painter.height
    for y in np.linspace(floor, 1, random.randint(3, 6))[1:]:
        painter.line([(0, y), (ratio, y)], lighter(wood, -0.35), 0.006)
        x = random.random() * ratio
        painter.line([(x, y), (x, y - 0.06)], lighter(wood, -0.35), 0.006)
    skirting = random.choice(
        [(245, 245, 240), lighter(wood, -0.3), lighter(wall, -0.3)]
    )
    painter.line([(0, floor), (ratio, floor)], skirting, random.uniform(0.02, 0.05))


def _frame(painter: Painter, floor: float) -> None:
    """A window or a picture on the wall, at one side or the other."""
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
    pane = between(random, (195, 220), (0.15, 0.5), (0.8, 1.0))
    inside = pane if window else hsv(random.random() * 360, 0.4, random.uniform(0.5, 1))
    inner = Tube.through((0, 0.03 - high, wide), (0, high - 0.03, wide), **flat)
    painter.fill(inner, inside, edge=False)
    if window:
        painter.line([(0, -high), (0, high)], frame, 0.02)
        painter.line([(-wide, 0), (wide, 0)], frame, 0.02)


DRAWINGS = {"grass": _grass, "sea": _sea, "snow": _snow, "room": _room}
