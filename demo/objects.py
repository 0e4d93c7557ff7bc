"""The five objects next to an animal, one unit high, on the ground at y = 0."""

import math

import numpy as np

from demo.colours import COLOURS, Colour, lighten, named_colour, random_colour
from demo.painting import Painter
from demo.tubes import Tube

OBJECTS = ("ball", "bowl", "flower", "gift", "cactus")
HALF_TURN = np.linspace(-math.pi / 2, math.pi / 2, 13)


def draw_object(painter: Painter, name: str) -> None:
    """Draw an object of a random colour at the painter's origin."""
    colour = named_colour(painter.random.choice(list(COLOURS)), painter.random)
    DRAWINGS[name](painter, colour)


def _ball(painter: Painter, colour: Colour) -> None:
    random = painter.random
    painter.fill(Tube.ellipse(0, -0.4, 0.4), colour)
    other = random.choice(
        [(250, 250, 245), lighten(colour, -0.35), lighten(colour, 0.6)]
    )
    design = random.choice(["stripe", "seams", "patches"])
    if design == "stripe":
        stripe = Tube.ellipse(0, -0.4, 0.39, 0.12, random.uniform(-0.6, 0.6))
        painter.fill(stripe, other, edge=False)
    elif design == "seams":
        for bend in (-0.3, 0, 0.3):
            points = [
                (bend * math.cos(a), -0.4 + 0.39 * math.sin(a)) for a in HALF_TURN
            ]
            painter.line(points, other, 0.035)
    else:
        for angle in np.arange(5) * 1.257 + random.random():
            x, y = 0.27 * math.cos(angle), -0.4 + 0.27 * math.sin(angle)
            painter.fill(Tube.ellipse(x, y, 0.09), other, edge=False)


def _bowl(painter: Painter, colour: Colour) -> None:
    random = painter.random
    high, wide = random.uniform(0.36, 0.5), random.uniform(0.42, 0.55)
    side = Tube.through(
        (0, -high, wide),
        (0, -high * 0.5, wide * 0.9),
        (0, 0, wide * random.uniform(0.55, 0.75)),
        round_start=False,
        round_end=False,
    )
    painter.fill(side, colour)
    painter.fill(Tube.ellipse(0, -high, wide, 0.11), lighten(colour, -0.3))
    if random.random() < 0.7:
        food = random_colour(random, (15, 40), (0.4, 0.8), (0.35, 0.75))
        painter.fill(Tube.ellipse(0, -high - 0.02, wide * 0.8, 0.1), food, edge=False)
        for x in np.linspace(-0.6, 0.6, 5) * wide:
            y = -high - random.uniform(0.03, 0.12)
            painter.fill(Tube.ellipse(x, y, 0.07, 0.06), lighten(food, 0.15))


def _flower(painter: Painter, colour: Colour) -> None:
    random = painter.random
    green = random_colour(random, (95, 140), (0.5, 0.9), (0.3, 0.65))
    high, petals = random.uniform(0.85, 1.05), random.randint(5, 8)
    painter.fill(
        Tube.through((0, 0, 0.04), (0.04, -0.4, 0.04), (0, -high, 0.03)), green
    )
    for side in (-1, 1):
        leaf = (0, -0.1, 0.03), (side * 0.18, -0.3, 0.09), (side * 0.32, -0.36, 0.01)
        painter.fill(Tube.through(*leaf), green)
    for angle in np.arange(petals) * 2 * math.pi / petals + random.random():
        x, y = 0.21 * math.cos(angle), -high + 0.21 * math.sin(angle)
        painter.fill(Tube.ellipse(x, y, 0.12, 0.16, angle + math.pi / 2), colour)
    heart = random.choice([(250, 210, 60), (90, 55, 30), (250, 245, 235)])
    painter.fill(Tube.ellipse(0, -high, 0.13), heart)


def _gift(painter: Painter, colour: Colour) -> None:
    random = painter.random
    wide, high = random.uniform(0.33, 0.45), random.uniform(0.5, 0.75)
    ribbon = named_colour(random.choice(list(COLOURS)), random)
    ribbon = random.choice([ribbon, (250, 245, 235), lighten(colour, -0.5)])
    flat = {"round_start": False, "round_end": False}
    painter.fill(Tube.through((0, -high, wide), (0, 0, wide), **flat), colour)
    lid = Tube.through(
        (0, -high - 0.08, wide * 1.1), (0, -high + 0.08, wide * 1.1), **flat
    )
    painter.fill(lid, lighten(colour, random.choice([-0.2, 0.2])))
    painter.fill(Tube.through((0, -high - 0.08, 0.07), (0, 0, 0.07), **flat), ribbon)
    for side in (-1, 1):
        bow = Tube.ellipse(side * 0.14, -high - 0.18, 0.08, 0.17, -side * 1.0)
        painter.fill(bow, ribbon)
    painter.fill(Tube.ellipse(0, -high - 0.11, 0.06), lighten(ribbon, -0.2))


def _cactus(painter: Painter, colour: Colour) -> None:
    random = painter.random
    green = random_colour(random, (95, 155), (0.4, 0.8), (0.35, 0.65))
    high, thick = random.uniform(0.85, 1.05), random.uniform(0.12, 0.17)
    stem = Tube.through((0, -0.25, thick), (0, -high + thick, thick))
    for side in (-1, 1):
        low = random.uniform(0.45, 0.6)
        arm = Tube.through(
            (0, -low, 0.07),
            (side * 0.28, -low, 0.07),
            (side * 0.32, -low - 0.22, 0.07),
        )
        painter.fill(arm, green)
    painter.fill(stem, green)
    for t, u in painter.generator.uniform([0.1, -0.8], [0.9, 0.8], (14, 2)):
        x, y = stem.at(t, u)
        painter.line([(x, y), (x + 0.03, y - 0.04)], lighten(green, 0.6), 0.015)
    pot = (0, -0.3, 0.24), (0, 0, 0.17)
    painter.fill(Tube.through(*pot, round_start=False, round_end=False), colour)


DRAWINGS = {
    "ball": _ball,
    "bowl": _bowl,
    "flower": _flower,
    "gift": _gift,
    "cactus": _cactus,
}
