"""Six animals and what they wear, in units of their own height: feet at y = 0."""

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from demo.painting import Colour, Painter, Tube, between, lighter, mix, named

DARK = (25, 20, 22)
WHITE = (245, 242, 238)

# hue, saturation, value of the coats that each animal comes in
COATS = {
    "french bulldog": [
        ((24, 40), (0.3, 0.6), (0.6, 0.92)),
        ((28, 42), (0.1, 0.3), (0.82, 0.97)),
        ((15, 35), (0.25, 0.5), (0.2, 0.42)),
        ((200, 230), (0.05, 0.2), (0.35, 0.6)),
        ((20, 40), (0.0, 0.2), (0.13, 0.25)),
    ],
    "cat": [
        ((18, 32), (0.55, 0.85), (0.75, 0.95)),
        ((20, 40), (0.0, 0.12), (0.3, 0.75)),
        ((20, 40), (0.0, 0.2), (0.12, 0.22)),
        ((25, 40), (0.02, 0.2), (0.85, 0.97)),
    ],
    "rabbit": [
        ((20, 40), (0.0, 0.12), (0.85, 0.98)),
        ((20, 35), (0.25, 0.5), (0.45, 0.8)),
        ((20, 40), (0.0, 0.15), (0.4, 0.7)),
    ],
    "elephant": [
        ((200, 240), (0.04, 0.22), (0.45, 0.75)),
        ((20, 40), (0.03, 0.15), (0.45, 0.7)),
    ],
    "penguin": [
        ((210, 240), (0.05, 0.4), (0.12, 0.32)),
        ((20, 40), (0.0, 0.1), (0.1, 0.3)),
    ],
    "duck": [
        ((35, 50), (0.02, 0.15), (0.88, 0.98)),
        ((22, 34), (0.35, 0.6), (0.35, 0.62)),
        ((20, 40), (0.0, 0.12), (0.5, 0.75)),
    ],
}
ANIMALS = tuple(COATS)
GARMENTS = ("sweater", "scarf", "hat")


@dataclass
class Head:
    """Where the head is and how large; its parts are placed in its own units."""

    x: float
    y: float
    size: float
    yaw: float = 0.0  # moves the face, not the skull, sideways

    def ellipse(self, x, y, rx, ry=None, angle=0.0, power=2.0) -> Tube:
        ry = rx if ry is None else ry
        x, y = self.x + x * self.size, self.y + y * self.size
        return Tube.ellipse(x, y, rx * self.size, ry * self.size, angle, power)

    def tube(self, *points, round_start=True, round_end=True) -> Tube:
        place = np.array([self.x, self.y, 0])
        rows = (place + self.size * np.array(point) for point in points)
        return Tube.through(*rows, round_start=round_start, round_end=round_end)

    def line(self, *points) -> np.ndarray:
        return np.array([self.x, self.y]) + self.size * np.array(points)


class Animal:
    """One animal on one sheet of paper, with or without a garment of some colour."""

    def __init__(self, painter: Painter, kind: str, garment, colour, code, random):
        self.painter, self.kind, self.random = painter, kind, random
        self.garment: str | None = garment
        self.code: int = code  # what the painter remembers where the garment is
        self.worn: Colour = named(colour, random) if colour else DARK
        self.coat = between(random, *random.choice(COATS[kind]))
        self.pale = mix(self.coat, WHITE, random.uniform(0.4, 0.9))
        self.heavy = random.uniform(0.85, 1.2)
        if kind == "french bulldog":
            self.heavy *= 1.12
        if kind == "elephant":
            self.heavy *= 1.2
        self.sleeves = garment == "sweater" and random.random() < 0.8
        self.iris = random.choice([DARK, DARK, (70, 40, 20), (60, 120, 60)])

    def draw(self) -> None:
        """From the back to the front."""
        poses = {"penguin": [self.upright], "duck": [self.waddling]}
        usual = [self.sitting, self.standing, self.sideways]
        self.random.choice(poses.get(self.kind, usual))()

    def skin(self, tube: Tube, colour=None, fur=True, edge=True) -> None:
        colour = colour or self.coat
        self.painter.fill(tube, colour, edge=edge)
        if fur and self.kind not in ("elephant", "penguin"):
            self.painter.fur(tube, colour)

    def leg(self, x, y, radius, foot, lean=0.0, sleeve=True, colour=None) -> None:
        """From (x, y) down to the ground, in a sleeve where a sweater is worn."""
        leg = Tube.through((x, y, radius), (x + lean, -foot, radius * 0.8))
        self.skin(leg, colour)
        if self.kind != "elephant":
            paw = Tube.ellipse(x + lean, -foot * 0.8, radius * 1.15, foot * 0.8)
            self.skin(paw, self.pale if self.socks else colour, fur=False)
        if sleeve and self.sleeves:
            end = self.random.uniform(0.45, 0.7)
            self.painter.wool(leg.part(0, end, 1.25), self.worn, self.code)

    def limbs(self) -> tuple[float, float]:
        """Half a leg's width, and a foot's height."""
        self.socks = self.random.random() < 0.4
        radius = {"elephant": 0.085, "rabbit": 0.05, "cat": 0.042}.get(self.kind, 0.06)
        return radius * self.random.uniform(0.85, 1.2), self.random.uniform(0.03, 0.05)

    def head_size(self) -> float:
        size = {"french bulldog": 0.22, "cat": 0.18, "rabbit": 0.16, "elephant": 0.18}
        return size[self.kind] * self.random.uniform(0.86, 1.3)

    def sweater(self, body: Tube, start: float, stop: float) -> None:
        if self.garment != "sweater":
            return
        middle = body.part(start, stop, self.random.uniform(1.03, 1.1))
        self.painter.wool(middle, self.worn, self.code)
        hem = lighter(self.worn, self.random.choice([0, -0.12, -0.25, 0.2]))
        self.painter.fill(middle.part(0.86, 1, 1.03), hem, self.code)
        self.painter.fill(middle.part(0, 0.12, 1.03), hem, self.code)

    def scarf(self, x, y, width, tilt=0.0) -> None:
        """A band around the neck and an end that hangs down."""
        if self.garment != "scarf":
            return
        thick = self.random.uniform(0.045, 0.07)
        side = self.random.choice([-1, 1]) * self.random.uniform(0.3, 0.7) * width
        length = self.random.uniform(0.2, 0.34)
        end = Tube.through(
            (x + side, y, thick),
            (x + side * 1.1, y + length / 2, thick * 1.1),
            (x + side * self.random.uniform(0.9, 1.6), y + length, thick * 1.25),
            round_start=False,
            round_end=False,
        )
        dx, dy = width * math.cos(tilt), width * math.sin(tilt)
        band = Tube.through(
            (x - dx, y - dy - thick * 0.6, thick),
            (x, y + thick * 0.4, thick * 1.15),
            (x + dx, y + dy - thick * 0.6, thick),
        )
        for tube in self.random.choice([(end, band), (band, end)]):
            self.painter.wool(tube, self.worn, self.code)

    def collar(self, x, y, width) -> None:
        """The rolled neck of some sweaters."""
        if self.garment != "sweater" or self.random.random() < 0.6:
            return
        thick = self.random.uniform(0.03, 0.06)
        points = (x - width, y - thick / 2, thick), (x, y + thick / 2, thick * 1.1)
        band = Tube.through(*points, (x + width, y - thick / 2, thick))
        self.painter.wool(band, self.worn, self.code)

    def hat(self, x, y, width, lean=0.0) -> None:
        """A woollen hat, a brimmed one or a pointed one, with its brim at (x, y)."""
        if self.garment != "hat":
            return
        form = self.random.choice(["wool", "brim", "point"])
        width *= 1.2
        high = width * self.random.uniform(1.0, 1.5) * (1.5 if form == "point" else 1)
        tops = {"wool": 0.55, "brim": 0.8, "point": 0.06}
        crown = Tube.through(
            (x, y, width * 0.95),
            (x + lean * high / 2, y - high / 2, width * (0.5 + tops[form] / 2)),
            (x + lean * high, y - high, width * tops[form]),
            round_start=False,
            round_end=form == "wool",
        )
        self.painter.wool(crown, self.worn, self.code)
        edge = lighter(self.worn, self.random.choice([-0.2, 0, 0.25]))
        wide = {"wool": 1.05, "brim": 1.7, "point": 1.05}[form]
        thick = width * self.random.uniform(0.14, 0.26)
        brim = Tube.through((x - width * wide, y, thick), (x + width * wide, y, thick))
        self.painter.fill(brim, edge, self.code)
        if form != "brim":
            x, y = x + lean * high, y - high - (width * 0.55 if form == "wool" else 0)
            bobble = Tube.ellipse(x, y, width * self.random.uniform(0.2, 0.35))
            self.painter.fill(bobble, edge, self.code)

    def sitting(self) -> None:
        """From the front, on its haunches."""
        radius, foot = self.limbs()
        size, heavy, yaw = self.head_size(), self.heavy, self.random.uniform(-0.3, 0.3)
        top = -self.random.uniform(0.6, 0.72)
        self.tail(0.16, -0.12, 1)
        for side in (-1, 1):
            self.skin(Tube.ellipse(side * 0.19 * heavy, -0.13, 0.12, 0.13))
            self.skin(Tube.ellipse(side * 0.22 * heavy, -foot, 0.09, foot), fur=False)
        body = Tube.through(
            (0, top + size * 0.6, 0.13 * heavy),
            (0, top / 2 - 0.05, 0.18 * heavy),
            (0, -0.17, 0.22 * heavy),
        )
        self.skin(body)
        self.chest(0, top / 2, 0.11 * heavy, 0.2)
        self.sweater(body, 0.12, self.random.uniform(0.64, 0.95))
        for side in (-1, 1):
            lean = side * self.random.uniform(-0.01, 0.03)
            self.leg(side * 0.105 * heavy, top / 2 - 0.05, radius, foot, lean)
        self.top(Head(self.random.uniform(-0.03, 0.03), top, size, yaw), heavy)

    def standing(self) -> None:
        """From the front, on four legs."""
        radius, foot = self.limbs()
        size, heavy, yaw = self.head_size(), self.heavy, self.random.uniform(-0.4, 0.4)
        top = -self.random.uniform(0.6, 0.7)
        self.tail(0.12, -0.4, 1)
        behind = lighter(self.coat, -0.2)
        for side in (-1, 1):
            x = side * 0.17 * heavy
            self.leg(x, -0.3, radius * 0.9, foot, 0, sleeve=False, colour=behind)
        body = Tube.ellipse(0, -0.4, 0.23 * heavy, 0.22, 0, 2.4)
        self.skin(body)
        self.chest(0, -0.38, 0.12 * heavy, 0.16)
        self.sweater(body, 0.08, self.random.uniform(0.8, 0.93))
        for side in (-1, 1):
            lean = side * self.random.uniform(-0.02, 0.03)
            self.leg(side * 0.13 * heavy, -0.38, radius * 1.1, foot, lean)
        self.top(Head(self.random.uniform(-0.03, 0.03), top, size, yaw), heavy)

    def sideways(self) -> None:
        """From the side, the face towards us."""
        radius, foot = self.limbs()
        size, heavy = self.head_size(), self.heavy
        reach = self.random.uniform(0.27, 0.36)
        hips, chest = (-reach, -0.38, 0.15 * heavy), (reach * 0.75, -0.42, 0.16 * heavy)
        body = Tube.through(hips, (0, -0.39, 0.145 * heavy), chest)
        self.tail(-reach - 0.09, -0.44, -1)
        behind = lighter(self.coat, -0.22)
        self.leg(-reach + 0.13, -0.3, radius, foot, 0.03, False, behind)
        self.leg(reach - 0.08, -0.32, radius, foot, 0.03, True, behind)
        self.skin(body)
        self.sweater(body, self.random.uniform(0.2, 0.4), 0.93)
        self.leg(-reach, -0.3, radius * 1.15, foot, -0.02, False)
        self.leg(
            reach * 0.72, -0.34, radius * 1.1, foot, self.random.uniform(-0.03, 0.03)
        )
        x, y = reach + self.random.uniform(-0.02, 0.1), -self.random.uniform(0.58, 0.7)
        neck = Tube.through((reach * 0.75, -0.45, 0.12), (x, y, size * 0.6))
        self.skin(neck)
        if self.garment == "sweater":
            self.painter.wool(neck.part(0.1, 0.55, 1.15), self.worn, self.code)
        self.top(Head(x, y, size, self.random.uniform(0, 0.45)), heavy * 0.9)

    def top(self, head: Head, heavy: float) -> None:
        """The head, then what is worn around or on it."""
        if self.painter.style.shadow:
            under = Tube.ellipse(head.x, head.y + head.size, head.size * 0.7, 0.06)
            self.painter.shade(under, 0.25, 0.03)
        parts = {
            "french bulldog": self.bulldog,
            "cat": self.cat,
            "rabbit": self.rabbit,
            "elephant": self.elephant,
        }
        width = max(0.12 * heavy, head.size * 0.7)
        self.collar(head.x * 0.8, head.y + head.size * 0.98, width)
        if self.kind == "elephant":  # the trunk hangs in front of the scarf
            self.scarf(head.x * 0.7, head.y + head.size * 1.0, width)
        parts[self.kind](head)
        if self.kind != "elephant":
            self.scarf(head.x * 0.8, head.y + head.size * 1.02, width)
        brow = {"french bulldog": 0.62, "elephant": 0.75}.get(self.kind, 0.72)
        wide = {"french bulldog": 0.5, "rabbit": 0.5, "cat": 0.48}.get(self.kind, 0.55)
        lean = self.random.uniform(-0.25, 0.25)
        self.hat(head.x, head.y - brow * head.size, wide * head.size, lean)

    def chest(self, x, y, width, height) -> None:
        if self.random.random() < 0.5:
            self.skin(Tube.ellipse(x, y, width, height), self.pale, edge=False)

    def tail(self, x: float, y: float, way: int) -> None:
        long = self.random.uniform(0.8, 1.2)
        if self.kind == "cat":
            up = self.random.choice([-1, 0.3])
            tail = Tube.through(
                (x, y, 0.04),
                (x + way * 0.17 * long, y + 0.05, 0.035),
                (x + way * 0.24 * long, y + up * 0.14, 0.032),
                (x + way * 0.2 * long, y + up * 0.32, 0.028),
            )
        elif self.kind == "elephant":
            tail = Tube.through((x, y, 0.02), (x + way * 0.07, y + 0.2, 0.012))
        elif self.kind == "rabbit":
            self.skin(Tube.ellipse(x, y, 0.07 * long), self.pale)
            return
        else:
            tail = Tube.through((x, y, 0.04), (x + way * 0.05, y - 0.03, 0.025))
        self.skin(tail)

    def eyes(self, head: Head, apart: float, high: float, size: float) -> None:
        """White or none around, dark inside, mostly with a glint."""
        size *= self.random.uniform(0.8, 1.25)
        form = self.random.choice(["dot", "dot", "white", "iris"])
        for side in (-1, 1):
            x, y = side * apart + head.yaw * 0.25, high
            if form != "dot":
                around = WHITE if form == "white" else (190, 170, 60)
                self.painter.fill(head.ellipse(x, y, size * 1.3, size * 1.2), around)
            eye = head.ellipse(x, y, size, size * 1.05)
            self.painter.fill(eye, self.iris, edge=False)
            if form == "iris" or size > 0.13:
                self.painter.fill(head.ellipse(x, y, size * 0.6), DARK, edge=False)
            glint = head.ellipse(x + size * 0.3, y - size * 0.35, size * 0.3)
            self.painter.fill(glint, WHITE, edge=False)

    def bulldog(self, head: Head) -> None:
        """Bat ears, a wide flat face, hanging cheeks and wrinkles."""
        random, yaw = self.random, head.yaw * 0.25
        wide, power = random.uniform(0.95, 1.25), random.uniform(2, 4)
        self.bat_ears(head, wide)
        self.skin(head.ellipse(0, 0, wide, random.uniform(0.8, 0.98), 0, power))
        mask = random.choice(
            [self.coat, self.pale, lighter(self.coat, -0.5), self.pale]
        )
        if random.random() < 0.35:
            blaze = head.tube((yaw, -0.75, 0.12), (yaw, 0, 0.2), (yaw, 0.4, 0.3))
            self.skin(blaze, WHITE, edge=False)
        low = random.uniform(0.25, 0.4)
        self.skin(head.ellipse(yaw, low, 0.62, 0.42, 0, 2.4), mask, edge=False)
        self.eyes(head, random.uniform(0.48, 0.62), random.uniform(-0.2, 0.02), 0.17)
        self.jowls(head, mask, yaw, low)
        ink, width = lighter(self.coat, -0.45), head.size * random.uniform(0.025, 0.05)
        for index in range(random.randint(0, 3)):
            y, bend = -0.12 - 0.16 * index, 0.3 - 0.04 * index
            points = (yaw - bend, y + 0.1), (yaw, y - 0.06), (yaw + bend, y + 0.1)
            self.painter.line(head.line(*points), ink, width)

    def bat_ears(self, head: Head, wide: float) -> None:
        """Broad below, round above."""
        random = self.random
        tall, out = random.uniform(1.0, 1.6), random.uniform(0.55, 1.0)
        base, tip = random.uniform(0.22, 0.4), random.uniform(0.04, 0.22)
        pink = random.choice(
            [(225, 165, 155), lighter(self.coat, -0.35), (235, 190, 175)]
        )
        for side in (-1, 1):
            root = side * wide * 0.58, -0.45
            middle = side * (wide * 0.58 + out) / 2 * 1.08, -(tall + 0.45) / 2
            points = (*root, base), (*middle, base * 0.92), (side * out, -tall, tip)
            self.skin(head.tube(*points))
            self.painter.fill(
                head.tube(*points).part(0.25, 0.88, 0.55), pink, edge=False
            )

    def jowls(self, head: Head, mask: Colour, yaw: float, low: float) -> None:
        """Two hanging cheeks, a wide nose between them, perhaps a tongue."""
        random = self.random
        hang = random.uniform(0.1, 0.24)
        chin = head.ellipse(yaw, low + 0.36, 0.34, 0.2)
        self.skin(chin, mask, fur=False)
        if random.random() < 0.3:
            tongue = head.tube((yaw, low + 0.3, 0.13), (yaw, low + 0.6, 0.12))
            self.painter.fill(tongue, (225, 110, 120))
        for side in (-1, 1):
            cheek = head.ellipse(yaw + side * 0.3, low + hang, 0.36, 0.3, side * -0.35)
            self.skin(cheek, mask, fur=False)
        nose = head.ellipse(yaw, low - 0.1, random.uniform(0.2, 0.28), 0.14, 0, 2.6)
        self.painter.fill(nose, DARK, edge=False)
        line = head.line((yaw, low), (yaw, low + hang + 0.06))
        self.painter.line(line, DARK, head.size * 0.05)

    def cat(self, head: Head) -> None:
        """Pointed ears, a small nose, whiskers."""
        random, yaw = self.random, head.yaw * 0.25
        self.pointed_ears(head)
        self.skin(
            head.ellipse(0, 0, random.uniform(0.92, 1.08), random.uniform(0.76, 0.9))
        )
        if random.random() < 0.5:
            for x in (-0.25, 0, 0.25):
                stripe = head.line((x, -0.72 + abs(x) / 3), (x * 0.7, -0.42))
                self.painter.line(stripe, lighter(self.coat, -0.5), head.size * 0.08)
        if random.random() < 0.5:
            self.skin(head.ellipse(yaw, 0.35, 0.4, 0.28), self.pale, False, False)
        self.eyes(head, random.uniform(0.36, 0.48), random.uniform(-0.15, 0), 0.15)
        points = (yaw, 0.16, 0.13), (yaw, 0.32, 0.02)
        nose = head.tube(*points, round_start=False, round_end=False)
        self.painter.fill(nose, random.choice([(220, 120, 130), DARK]), edge=False)
        mouth = (yaw - 0.22, 0.42), (yaw, 0.34), (yaw + 0.22, 0.42)
        self.painter.line(head.line(*mouth), lighter(self.coat, -0.6), head.size * 0.05)
        self.whiskers(head, yaw)

    def whiskers(self, head: Head, yaw: float) -> None:
        random = self.random
        ink = random.choice([DARK, WHITE, lighter(self.coat, -0.5)])
        for side in (-1, 1):
            for lift in (-0.12, 0.04, 0.2):
                far = yaw + side * random.uniform(1.0, 1.3), 0.3 + lift * 1.6
                whisker = head.line((yaw + side * 0.3, 0.3 + lift / 3), far)
                self.painter.line(whisker, ink, head.size * 0.025)

    def pointed_ears(self, head: Head) -> None:
        tall, out = self.random.uniform(1.15, 1.5), self.random.uniform(0.6, 0.85)
        for side in (-1, 1):
            points = (side * 0.5, -0.35, 0.42), (side * out, -tall, 0.0)
            self.skin(head.tube(*points, round_end=False))
            inner = head.tube(*points, round_end=False).part(0.45, 0.9, 0.5)
            self.painter.fill(inner, (230, 170, 165), edge=False)

    def rabbit(self, head: Head) -> None:
        """Two very long ears, two teeth."""
        random, yaw = self.random, head.yaw * 0.25
        self.long_ears(head)
        self.skin(
            head.ellipse(0, 0, random.uniform(0.82, 0.98), random.uniform(0.85, 1))
        )
        self.eyes(head, random.uniform(0.4, 0.55), random.uniform(-0.2, 0), 0.15)
        for side in (-1, 1):
            cheek = head.ellipse(yaw + side * 0.2, 0.42, 0.25, 0.2)
            self.skin(cheek, self.pale, False, False)
        teeth = head.ellipse(yaw, 0.68, 0.14, 0.16, 0, 4)
        self.painter.fill(teeth, (255, 255, 250))
        self.painter.fill(head.ellipse(yaw, 0.25, 0.13, 0.09), (225, 130, 140))
        self.painter.line(head.line((yaw, 0.3), (yaw, 0.52)), DARK, head.size * 0.05)

    def long_ears(self, head: Head) -> None:
        """Upright, or hanging down at the sides."""
        random = self.random
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
            self.skin(ear)
            self.painter.fill(ear.part(0.2, 0.9, 0.55), (235, 180, 180), edge=False)

    def elephant(self, head: Head) -> None:
        """Great ears, a trunk, mostly tusks."""
        random, yaw = self.random, head.yaw * 0.25
        broad, high = random.uniform(0.65, 0.9), random.uniform(0.8, 1.05)
        for side in (-1, 1):
            ear = head.ellipse(
                side * (0.6 + broad * 0.6), -0.05, broad, high, side * 0.15
            )
            self.skin(ear, lighter(self.coat, -0.1))
            inner = mix(self.coat, (220, 160, 160), 0.5)
            x = side * (0.62 + broad * 0.6)
            self.skin(head.ellipse(x, 0, broad * 0.6, high * 0.65), inner, edge=False)
        self.skin(head.ellipse(0, 0, random.uniform(0.78, 0.9), random.uniform(0.9, 1)))
        self.eyes(head, random.uniform(0.36, 0.45), random.uniform(-0.25, -0.05), 0.11)
        if random.random() < 0.7:
            for side in (-1, 1):
                x, out = yaw + side * 0.32, yaw + side * random.uniform(0.4, 0.6)
                tusk = head.tube((x, 0.5, 0.1), (x, 0.8, 0.09), (out, 1.15, 0.03))
                self.painter.fill(tusk, (250, 245, 225))
        self.trunk(head, yaw)

    def trunk(self, head: Head, yaw: float) -> None:
        random = self.random
        curl = random.choice([-1, 1]) * random.uniform(0, 0.7)
        long = random.uniform(1.5, 2.1)
        trunk = head.tube(
            (yaw, 0.2, 0.3),
            (yaw, 0.9, 0.23),
            (yaw + curl * 0.4, long * 0.85, 0.18),
            (yaw + curl, long, 0.15),
        )
        self.skin(trunk)
        for place in np.linspace(0.3, 0.85, random.randint(0, 6)):
            wrinkle = trunk.at(place, np.linspace(-0.8, 0.8, 5))
            self.painter.line(wrinkle, lighter(self.coat, -0.3), head.size * 0.03)

    def upright(self) -> None:
        """A penguin."""
        random, heavy, orange = self.random, self.heavy, self.orange()
        turn = random.uniform(-0.05, 0.05)
        for side in (-1, 1):
            foot = Tube.ellipse(side * 0.11 * heavy, -0.025, 0.1, 0.035)
            self.painter.fill(foot, orange)
        body = Tube.through(
            (0, -0.8, 0.15 * heavy),
            (0, -0.5, 0.22 * heavy),
            (0, -0.2, 0.2 * heavy),
        )
        self.skin(body)
        belly = Tube.ellipse(turn, -0.36, 0.17 * heavy, 0.3, 0, 2.4)
        self.skin(belly, WHITE, edge=False)
        self.sweater(body, random.uniform(0.36, 0.42), random.uniform(0.76, 0.88))
        self.flippers(heavy)
        self.scarf(0, -0.63, 0.17 * heavy)
        self.beak(Head(turn, -0.8, 0.17 * heavy, 2 * turn), orange)
        self.hat(0, -0.8 - 0.11 * heavy, 0.11 * heavy, random.uniform(-0.25, 0.25))

    def flippers(self, heavy: float) -> None:
        random = self.random
        for side in (-1, 1):
            out = random.uniform(0.28, 0.42)
            flipper = Tube.through(
                (side * 0.18 * heavy, -0.58, 0.05),
                (side * (out - 0.05), -0.4, 0.055),
                (side * out, random.uniform(-0.32, -0.2), 0.02),
            )
            self.skin(flipper)
            if self.sleeves:
                self.painter.wool(flipper.part(0, 0.6, 1.25), self.worn, self.code)

    def orange(self) -> Colour:
        return between(self.random, (22, 36), (0.8, 1), (0.85, 1))

    def beak(self, head: Head, orange: Colour) -> None:
        """A penguin's face: white around the eyes, a beak that points down."""
        yaw = head.yaw
        if self.random.random() < 0.8:
            for side in (-1, 1):
                face = head.ellipse(yaw + side * 0.34, 0.08, 0.4, 0.42)
                self.skin(face, WHITE, edge=False)
        self.eyes(head, self.random.uniform(0.32, 0.42), 0, 0.13)
        points = (yaw, 0.15, 0.22), (yaw, self.random.uniform(0.5, 0.65), 0.02)
        beak = head.tube(*points, round_start=False, round_end=False)
        self.painter.fill(beak, orange)

    def waddling(self) -> None:
        """A duck from the side, on its legs."""
        random, heavy, orange = self.random, self.heavy, self.orange()
        for x in (-0.02, 0.12):
            leg = np.array([(x, -0.2), (x, -0.03)])
            self.painter.line(leg, orange, 0.04)
            self.painter.fill(Tube.ellipse(x + 0.04, -0.025, 0.08, 0.03), orange)
        body = Tube.through(
            (-0.46, -random.uniform(0.46, 0.58), 0.02),
            (-0.2, -0.36, 0.17 * heavy),
            (0.05, -0.32, 0.19 * heavy),
            (0.24, -0.38, 0.15 * heavy),
        )
        self.skin(body)
        wing = Tube.ellipse(-0.12, -0.37, 0.1 * heavy, 0.19, 1.75)
        self.skin(wing, lighter(self.coat, random.choice([-0.15, -0.3, 0.15])))
        self.duck_head(body, orange)

    def duck_head(self, body: Tube, orange: Colour) -> None:
        """The neck and the head, and what the duck wears."""
        random = self.random
        x, y = 0.3 + random.uniform(-0.05, 0.06), -random.uniform(0.76, 0.86)
        neck = Tube.through(
            (0.23, -0.42, 0.1), (x - 0.02, y + 0.15, 0.08), (x, y, 0.09)
        )
        green = self.coat[0] < 170 and random.random() < 0.5
        crown = (30, 100, 70) if green else self.coat
        self.skin(neck, self.coat)
        self.sweater(body, random.uniform(0.3, 0.38), 0.92)
        if self.garment == "sweater":
            self.painter.wool(neck.part(0.05, 0.4, 1.2), self.worn, self.code)
        self.scarf(x - 0.03, y + 0.2, 0.11, random.uniform(-0.2, 0.1))
        head = Head(x, y, 0.135 * random.uniform(0.9, 1.2))
        self.skin(head.ellipse(0, 0, 1, 0.95), crown)
        self.bill(head, orange)
        self.hat(
            x - 0.01, y - 0.65 * head.size, 0.6 * head.size, random.uniform(-0.4, 0.1)
        )

    def bill(self, head: Head, orange: Colour) -> None:
        """Flat and long, towards the side the duck looks to."""
        far, flat = self.random.uniform(1.7, 2.1), self.random.uniform(0.16, 0.26)
        bill = head.tube((0.75, 0.15, 0.3), (1.3, 0.28, flat), (far, 0.2, flat))
        self.painter.fill(bill, orange)
        line = head.line((0.9, 0.3), (far, 0.25))
        self.painter.line(line, lighter(orange, -0.4), head.size * 0.05)
        eye = head.ellipse(0.35, -0.2, self.random.uniform(0.13, 0.2))
        self.painter.fill(eye, DARK, edge=False)
        glint = head.ellipse(0.4, -0.26, 0.06)
        self.painter.fill(glint, WHITE, edge=False)


def draw_animal(
    painter: Painter, kind: str, garment: str | None, colour: str | None, code: int
) -> None:
    """Draw it where the painter stands; `code` is remembered where the garment is."""
    random: Random = painter.random
    Animal(painter, kind, garment, colour, code, random).draw()
