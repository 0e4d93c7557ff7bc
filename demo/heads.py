"""The heads of the four animals with legs: bulldog, cat, rabbit, elephant."""

from dataclasses import dataclass

import numpy as np

from demo.animals import DARK, WHITE, Animal
from demo.colours import Colour, lighten, mix
from demo.tubes import Tube


@dataclass
class Head:
    """The place and size of a head; the shapes on it are in units of its size."""

    x: float
    y: float
    size: float
    yaw: float = 0.0  # moves the face sideways, but not the skull

    def ellipse(self, x, y, rx, ry=None, angle=0.0, power=2.0) -> Tube:
        ry = rx if ry is None else ry
        x, y = self.x + x * self.size, self.y + y * self.size
        return Tube.ellipse(x, y, rx * self.size, ry * self.size, angle, power)

    def tube(self, *points, round_start=True, round_end=True) -> Tube:
        centre = np.array([self.x, self.y, 0])
        rows = (centre + self.size * np.array(point) for point in points)
        return Tube.through(*rows, round_start=round_start, round_end=round_end)

    def line(self, *points) -> np.ndarray:
        return np.array([self.x, self.y]) + self.size * np.array(points)


def draw_eyes(
    animal: Animal, head: Head, apart: float, high: float, size: float
) -> None:
    """Draw two dark eyes, with or without a white or yellow ring."""
    size *= animal.random.uniform(0.8, 1.25)
    style = animal.random.choice(["dot", "dot", "white", "iris"])
    for side in (-1, 1):
        x, y = side * apart + head.yaw * 0.25, high
        if style != "dot":
            around = WHITE if style == "white" else (190, 170, 60)
            animal.painter.fill(head.ellipse(x, y, size * 1.3, size * 1.2), around)
        eye = head.ellipse(x, y, size, size * 1.05)
        animal.painter.fill(eye, animal.iris, edge=False)
        if style == "iris" or size > 0.13:
            animal.painter.fill(head.ellipse(x, y, size * 0.6), DARK, edge=False)
        glint = head.ellipse(x + size * 0.3, y - size * 0.35, size * 0.3)
        animal.painter.fill(glint, WHITE, edge=False)


def draw_bulldog_head(animal: Animal, head: Head) -> None:
    """Draw bat ears, a wide flat face, hanging cheeks and wrinkles."""
    random, yaw = animal.random, head.yaw * 0.25
    wide, power = random.uniform(0.95, 1.25), random.uniform(2, 4)
    draw_bat_ears(animal, head, wide)
    animal.skin(head.ellipse(0, 0, wide, random.uniform(0.8, 0.98), 0, power))
    mask = random.choice(
        [animal.coat, animal.pale, lighten(animal.coat, -0.5), animal.pale]
    )
    if random.random() < 0.35:
        blaze = head.tube((yaw, -0.75, 0.12), (yaw, 0, 0.2), (yaw, 0.4, 0.3))
        animal.skin(blaze, WHITE, edge=False)
    low = random.uniform(0.25, 0.4)
    animal.skin(head.ellipse(yaw, low, 0.62, 0.42, 0, 2.4), mask, edge=False)
    draw_eyes(
        animal, head, random.uniform(0.48, 0.62), random.uniform(-0.2, 0.02), 0.17
    )
    draw_jowls(animal, head, mask, yaw, low)
    ink, width = lighten(animal.coat, -0.45), head.size * random.uniform(0.025, 0.05)
    for index in range(random.randint(0, 3)):
        y, bend = -0.12 - 0.16 * index, 0.3 - 0.04 * index
        points = (yaw - bend, y + 0.1), (yaw, y - 0.06), (yaw + bend, y + 0.1)
        animal.painter.line(head.line(*points), ink, width)


def draw_bat_ears(animal: Animal, head: Head, wide: float) -> None:
    """Draw ears that are broad at the base and round at the tip."""
    random = animal.random
    tall, out = random.uniform(1.0, 1.6), random.uniform(0.55, 1.0)
    base, tip = random.uniform(0.22, 0.4), random.uniform(0.04, 0.22)
    pink = random.choice(
        [(225, 165, 155), lighten(animal.coat, -0.35), (235, 190, 175)]
    )
    for side in (-1, 1):
        root = side * wide * 0.58, -0.45
        middle = side * (wide * 0.58 + out) / 2 * 1.08, -(tall + 0.45) / 2
        points = (*root, base), (*middle, base * 0.92), (side * out, -tall, tip)
        animal.skin(head.tube(*points))
        animal.painter.fill(head.tube(*points).part(0.25, 0.88, 0.55), pink, edge=False)


def draw_jowls(
    animal: Animal, head: Head, mask: Colour, yaw: float, low: float
) -> None:
    """Draw two hanging cheeks, a wide nose and sometimes a tongue."""
    random = animal.random
    hang = random.uniform(0.1, 0.24)
    chin = head.ellipse(yaw, low + 0.36, 0.34, 0.2)
    animal.skin(chin, mask, fur=False)
    if random.random() < 0.3:
        tongue = head.tube((yaw, low + 0.3, 0.13), (yaw, low + 0.6, 0.12))
        animal.painter.fill(tongue, (225, 110, 120))
    for side in (-1, 1):
        cheek = head.ellipse(yaw + side * 0.3, low + hang, 0.36, 0.3, side * -0.35)
        animal.skin(cheek, mask, fur=False)
    nose = head.ellipse(yaw, low - 0.1, random.uniform(0.2, 0.28), 0.14, 0, 2.6)
    animal.painter.fill(nose, DARK, edge=False)
    line = head.line((yaw, low), (yaw, low + hang + 0.06))
    animal.painter.line(line, DARK, head.size * 0.05)


def draw_cat_head(animal: Animal, head: Head) -> None:
    """Draw pointed ears, a small nose and whiskers."""
    random, yaw = animal.random, head.yaw * 0.25
    draw_pointed_ears(animal, head)
    animal.skin(
        head.ellipse(0, 0, random.uniform(0.92, 1.08), random.uniform(0.76, 0.9))
    )
    if random.random() < 0.5:
        for x in (-0.25, 0, 0.25):
            stripe = head.line((x, -0.72 + abs(x) / 3), (x * 0.7, -0.42))
            animal.painter.line(stripe, lighten(animal.coat, -0.5), head.size * 0.08)
    if random.random() < 0.5:
        animal.skin(head.ellipse(yaw, 0.35, 0.4, 0.28), animal.pale, False, False)
    draw_eyes(animal, head, random.uniform(0.36, 0.48), random.uniform(-0.15, 0), 0.15)
    points = (yaw, 0.16, 0.13), (yaw, 0.32, 0.02)
    nose = head.tube(*points, round_start=False, round_end=False)
    animal.painter.fill(nose, random.choice([(220, 120, 130), DARK]), edge=False)
    mouth = (yaw - 0.22, 0.42), (yaw, 0.34), (yaw + 0.22, 0.42)
    animal.painter.line(head.line(*mouth), lighten(animal.coat, -0.6), head.size * 0.05)
    draw_whiskers(animal, head, yaw)


def draw_whiskers(animal: Animal, head: Head, yaw: float) -> None:
    random = animal.random
    ink = random.choice([DARK, WHITE, lighten(animal.coat, -0.5)])
    for side in (-1, 1):
        for lift in (-0.12, 0.04, 0.2):
            far = yaw + side * random.uniform(1.0, 1.3), 0.3 + lift * 1.6
            whisker = head.line((yaw + side * 0.3, 0.3 + lift / 3), far)
            animal.painter.line(whisker, ink, head.size * 0.025)


def draw_pointed_ears(animal: Animal, head: Head) -> None:
    tall, out = animal.random.uniform(1.15, 1.5), animal.random.uniform(0.6, 0.85)
    for side in (-1, 1):
        points = (side * 0.5, -0.35, 0.42), (side * out, -tall, 0.0)
        animal.skin(head.tube(*points, round_end=False))
        inner = head.tube(*points, round_end=False).part(0.45, 0.9, 0.5)
        animal.painter.fill(inner, (230, 170, 165), edge=False)


def draw_rabbit_head(animal: Animal, head: Head) -> None:
    """Draw two very long ears and two teeth."""
    random, yaw = animal.random, head.yaw * 0.25
    draw_long_ears(animal, head)
    animal.skin(head.ellipse(0, 0, random.uniform(0.82, 0.98), random.uniform(0.85, 1)))
    draw_eyes(animal, head, random.uniform(0.4, 0.55), random.uniform(-0.2, 0), 0.15)
    for side in (-1, 1):
        cheek = head.ellipse(yaw + side * 0.2, 0.42, 0.25, 0.2)
        animal.skin(cheek, animal.pale, False, False)
    teeth = head.ellipse(yaw, 0.68, 0.14, 0.16, 0, 4)
    animal.painter.fill(teeth, (255, 255, 250))
    animal.painter.fill(head.ellipse(yaw, 0.25, 0.13, 0.09), (225, 130, 140))
    animal.painter.line(head.line((yaw, 0.3), (yaw, 0.52)), DARK, head.size * 0.05)


def draw_long_ears(animal: Animal, head: Head) -> None:
    """Draw ears that stand up or hang down at the sides."""
    random = animal.random
    tall, width = random.uniform(1.9, 2.5), random.uniform(0.17, 0.27)
    lop = random.random() < 0.2
    for side in (-1, 1):
        bend = random.uniform(-0.1, 0.35)
        if lop:
            points = (
                (0.55, -0.6, width),
                (1.2, -0.3, width * 1.2),
                (1.25, 0.8, width),
            )
        else:
            points = (0.38, -0.6, width), (0.45, -1.4, width * 1.15)
            points += ((0.45 + bend, -tall, width * 0.6),)
        ear = head.tube(*((side * x, y, radius) for x, y, radius in points))
        animal.skin(ear)
        animal.painter.fill(ear.part(0.2, 0.9, 0.55), (235, 180, 180), edge=False)


def draw_elephant_head(animal: Animal, head: Head) -> None:
    """Draw large ears, a trunk and, in most cases, tusks."""
    random, yaw = animal.random, head.yaw * 0.25
    broad, high = random.uniform(0.65, 0.9), random.uniform(0.8, 1.05)
    for side in (-1, 1):
        ear = head.ellipse(side * (0.6 + broad * 0.6), -0.05, broad, high, side * 0.15)
        animal.skin(ear, lighten(animal.coat, -0.1))
        inner = mix(animal.coat, (220, 160, 160), 0.5)
        x = side * (0.62 + broad * 0.6)
        animal.skin(head.ellipse(x, 0, broad * 0.6, high * 0.65), inner, edge=False)
    animal.skin(head.ellipse(0, 0, random.uniform(0.78, 0.9), random.uniform(0.9, 1)))
    draw_eyes(
        animal, head, random.uniform(0.36, 0.45), random.uniform(-0.25, -0.05), 0.11
    )
    if random.random() < 0.7:
        for side in (-1, 1):
            x, out = yaw + side * 0.32, yaw + side * random.uniform(0.4, 0.6)
            tusk = head.tube((x, 0.5, 0.1), (x, 0.8, 0.09), (out, 1.15, 0.03))
            animal.painter.fill(tusk, (250, 245, 225))
    draw_trunk(animal, head, yaw)


def draw_trunk(animal: Animal, head: Head, yaw: float) -> None:
    random = animal.random
    curl = random.choice([-1, 1]) * random.uniform(0, 0.7)
    long = random.uniform(1.5, 2.1)
    trunk = head.tube(
        (yaw, 0.2, 0.3),
        (yaw, 0.9, 0.23),
        (yaw + curl * 0.4, long * 0.85, 0.18),
        (yaw + curl, long, 0.15),
    )
    animal.skin(trunk)
    for t in np.linspace(0.3, 0.85, random.randint(0, 6)):
        wrinkle = trunk.at(t, np.linspace(-0.8, 0.8, 5))
        animal.painter.line(wrinkle, lighten(animal.coat, -0.3), head.size * 0.03)


HEADS = {
    "french bulldog": draw_bulldog_head,
    "cat": draw_cat_head,
    "rabbit": draw_rabbit_head,
    "elephant": draw_elephant_head,
}
