"""Colour names to random colours: each name covers a range of hues."""

import colorsys
from random import Random

Colour = tuple[int, int, int]

# Ranges of the hue (degrees), the saturation and the value (both 0 to 1). The gaps
# between the hues are wide enough that coloured light never changes a name.
COLOURS = {
    "red": ((-9, 7), (0.72, 1.0), (0.55, 0.95)),
    "yellow": ((43, 58), (0.6, 1.0), (0.8, 1.0)),
    "green": ((92, 155), (0.4, 0.95), (0.35, 0.85)),
    "blue": ((197, 230), (0.45, 1.0), (0.4, 1.0)),
    "purple": ((264, 285), (0.42, 0.9), (0.4, 0.82)),
    "pink": ((326, 347), (0.28, 0.55), (0.92, 1.0)),
}


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return a colour from its hue (degrees), saturation and value (0 to 1)."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def random_colour(random: Random, *ranges: tuple[float, float]) -> Colour:
    """Return a colour from ranges of its hue, saturation and value."""
    return hsv(*(random.uniform(*limits) for limits in ranges))


def named_colour(name: str, random: Random) -> Colour:
    """Return one of the colours that have this name."""
    return random_colour(random, *COLOURS[name])


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """Return a mixture; `share` (0 to 1) is how much of it is the other colour."""
    return tuple(round(a + (b - a) * share) for a, b in zip(colour, other))


def lighten(colour: Colour, share: float) -> Colour:
    """Mix a colour with white or, if the share is negative, with black."""
    return mix(colour, (255,) * 3 if share > 0 else (0,) * 3, abs(share))
