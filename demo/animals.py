"""The six animals and the parts of a body that they share.

Lengths are in units of the animal's height; its feet are at y = 0.
"""

from demo.colours import Colour, mix, named_colour, random_colour
from demo.painting import Painter
from demo.tubes import Tube

DARK = (25, 20, 22)
WHITE = (245, 242, 238)

# Ranges of the hue, saturation and value of each coat.
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


class Animal:
    """One animal in one image, with or without a garment."""

    def __init__(self, painter: Painter, species: str, garment, colour, label) -> None:
        self.painter, self.species = painter, species
        self.random = random = painter.random
        self.garment: str | None = garment
        self.garment_label: int = label
        self.garment_colour: Colour = named_colour(colour, random) if colour else DARK
        self.coat = random_colour(random, *random.choice(COATS[species]))
        self.pale = mix(self.coat, WHITE, random.uniform(0.4, 0.9))
        self.breadth = random.uniform(0.85, 1.2)
        if species == "french bulldog":
            self.breadth *= 1.12
        if species == "elephant":
            self.breadth *= 1.2
        self.has_sleeves = garment == "sweater" and random.random() < 0.8
        self.iris = random.choice([DARK, DARK, (70, 40, 20), (60, 120, 60)])

    def skin(self, tube: Tube, colour=None, fur=True, edge=True) -> None:
        """Draw a part of the body, in the colour of the coat if no other is given."""
        colour = colour or self.coat
        self.painter.fill(tube, colour, edge=edge)
        if fur and self.species not in ("elephant", "penguin"):
            self.painter.fur(tube, colour)

    def knit(self, tube: Tube) -> None:
        """Draw a part of the garment."""
        self.painter.wool(tube, self.garment_colour, self.garment_label)

    def leg(self, x, y, radius, foot, lean=0.0, sleeve=True, colour=None) -> None:
        """Draw a leg from (x, y) down to the ground, with a sleeve if there is one."""
        leg = Tube.through((x, y, radius), (x + lean, -foot, radius * 0.8))
        self.skin(leg, colour)
        if self.species != "elephant":
            paw = Tube.ellipse(x + lean, -foot * 0.8, radius * 1.15, foot * 0.8)
            self.skin(paw, self.pale if self.has_socks else colour, fur=False)
        if sleeve and self.has_sleeves:
            end = self.random.uniform(0.45, 0.7)
            self.knit(leg.part(0, end, 1.25))

    def leg_sizes(self) -> tuple[float, float]:
        """Return half the width of a leg and the height of a foot."""
        self.has_socks = self.random.random() < 0.4
        radius = {"elephant": 0.085, "rabbit": 0.05, "cat": 0.042}.get(
            self.species, 0.06
        )
        return radius * self.random.uniform(0.85, 1.2), self.random.uniform(0.03, 0.05)

    def head_size(self) -> float:
        size = {"french bulldog": 0.22, "cat": 0.18, "rabbit": 0.16, "elephant": 0.18}
        return size[self.species] * self.random.uniform(0.86, 1.3)

    def chest(self, x, y, width, height) -> None:
        if self.random.random() < 0.5:
            self.skin(Tube.ellipse(x, y, width, height), self.pale, edge=False)

    def tail(self, x: float, y: float, direction: int) -> None:
        long = self.random.uniform(0.8, 1.2)
        if self.species == "cat":
            up = self.random.choice([-1, 0.3])
            tail = Tube.through(
                (x, y, 0.04),
                (x + direction * 0.17 * long, y + 0.05, 0.035),
                (x + direction * 0.24 * long, y + up * 0.14, 0.032),
                (x + direction * 0.2 * long, y + up * 0.32, 0.028),
            )
        elif self.species == "elephant":
            tail = Tube.through((x, y, 0.02), (x + direction * 0.07, y + 0.2, 0.012))
        elif self.species == "rabbit":
            self.skin(Tube.ellipse(x, y, 0.07 * long), self.pale)
            return
        else:
            tail = Tube.through((x, y, 0.04), (x + direction * 0.05, y - 0.03, 0.025))
        self.skin(tail)
