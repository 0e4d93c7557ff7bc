"""The garments of an animal; each function draws nothing if it wears another one."""

import math

from demo.animals import Animal
from demo.colours import lighten
from demo.tubes import Tube


def draw_sweater(animal: Animal, body: Tube, start: float, stop: float) -> None:
    """Draw a sweater with two hems from t = start to t = stop of the body."""
    if animal.garment != "sweater":
        return
    middle = body.part(start, stop, animal.random.uniform(1.03, 1.1))
    animal.knit(middle)
    hem = lighten(animal.garment_colour, animal.random.choice([0, -0.12, -0.25, 0.2]))
    animal.painter.fill(middle.part(0.86, 1, 1.03), hem, animal.garment_label)
    animal.painter.fill(middle.part(0, 0.12, 1.03), hem, animal.garment_label)


def draw_scarf(animal: Animal, x, y, width, tilt=0.0) -> None:
    """Draw a band around the neck and an end that hangs down."""
    if animal.garment != "scarf":
        return
    thick = animal.random.uniform(0.045, 0.07)
    side = animal.random.choice([-1, 1]) * animal.random.uniform(0.3, 0.7) * width
    length = animal.random.uniform(0.2, 0.34)
    end = Tube.through(
        (x + side, y, thick),
        (x + side * 1.1, y + length / 2, thick * 1.1),
        (x + side * animal.random.uniform(0.9, 1.6), y + length, thick * 1.25),
        round_start=False,
        round_end=False,
    )
    dx, dy = width * math.cos(tilt), width * math.sin(tilt)
    band = Tube.through(
        (x - dx, y - dy - thick * 0.6, thick),
        (x, y + thick * 0.4, thick * 1.15),
        (x + dx, y + dy - thick * 0.6, thick),
    )
    for tube in animal.random.choice([(end, band), (band, end)]):
        animal.knit(tube)


def draw_collar(animal: Animal, x, y, width) -> None:
    """Draw the rolled collar that some sweaters have."""
    if animal.garment != "sweater" or animal.random.random() < 0.6:
        return
    thick = animal.random.uniform(0.03, 0.06)
    points = (x - width, y - thick / 2, thick), (x, y + thick / 2, thick * 1.1)
    band = Tube.through(*points, (x + width, y - thick / 2, thick))
    animal.knit(band)


def draw_hat(animal: Animal, x, y, width, lean=0.0) -> None:
    """Draw a hat with its edge at (x, y): a bobble hat, one with a brim or a cone."""
    if animal.garment != "hat":
        return
    style = animal.random.choice(["wool", "brim", "point"])
    width *= 1.2
    high = width * animal.random.uniform(1.0, 1.5) * (1.5 if style == "point" else 1)
    tops = {"wool": 0.55, "brim": 0.8, "point": 0.06}
    crown = Tube.through(
        (x, y, width * 0.95),
        (x + lean * high / 2, y - high / 2, width * (0.5 + tops[style] / 2)),
        (x + lean * high, y - high, width * tops[style]),
        round_start=False,
        round_end=style == "wool",
    )
    animal.knit(crown)
    edge = lighten(animal.garment_colour, animal.random.choice([-0.2, 0, 0.25]))
    wide = {"wool": 1.05, "brim": 1.7, "point": 1.05}[style]
    thick = width * animal.random.uniform(0.14, 0.26)
    brim = Tube.through((x - width * wide, y, thick), (x + width * wide, y, thick))
    animal.painter.fill(brim, edge, animal.garment_label)
    if style != "brim":
        x, y = x + lean * high, y - high - (width * 0.55 if style == "wool" else 0)
        bobble = Tube.ellipse(x, y, width * animal.random.uniform(0.2, 0.35))
        animal.painter.fill(bobble, edge, animal.garment_label)
