"""Tubes, styles and light: how a shape gets onto paper, in many hands."""

import colorsys
import io
import math
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

OVERSAMPLING = 2  # drawn larger, then reduced: Pillow's polygons have hard edges
CODES = 112  # pixels a side of the map that remembers what was painted where

# hue in degrees, saturation and value in 0..1; the gaps between the hues are wide
# enough that coloured light never turns one name into another
COLOURS = {
    "red": ((-9, 7), (0.72, 1.0), (0.55, 0.95)),
    "yellow": ((43, 58), (0.6, 1.0), (0.8, 1.0)),
    "green": ((92, 155), (0.4, 0.95), (0.35, 0.85)),
    "blue": ((197, 230), (0.45, 1.0), (0.4, 1.0)),
    "purple": ((264, 285), (0.42, 0.9), (0.4, 0.82)),
    "pink": ((326, 347), (0.28, 0.55), (0.92, 1.0)),
}


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour from degrees and two values in 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def between(random: Random, *ranges: tuple[float, float]) -> Colour:
    """A colour from three ranges: hue, saturation, value."""
    return hsv(*(random.uniform(*limits) for limits in ranges))


def named(name: str, random: Random) -> Colour:
    """One of the many colours that go by this name."""
    return between(random, *COLOURS[name])


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with a share of `other` in it."""
    return tuple(round(a + (b - a) * share) for a, b in zip(colour, other))


def lighter(colour: Colour, share: float) -> Colour:
    """Towards white, or towards black where the share is negative."""
    return mix(colour, (255,) * 3 if share > 0 else (0,) * 3, abs(share))


def smooth(points: np.ndarray, count: int = 17) -> np.ndarray:
    """A Catmull-Rom curve through (n, d) points, as (count, d)."""
    ends = 2 * points[:1] - points[1:2], 2 * points[-1:] - points[-2:-1]
    padded = np.concatenate([ends[0], points, ends[1]])
    place = np.linspace(0, len(points) - 1, count)
    index = np.minimum(place.astype(int), len(points) - 2)
    t = (place - index)[:, None]
    a, b, c, d = (padded[index + shift] for shift in range(4))
    return b + t / 2 * (
        c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))
    )


class Tube:
    """A bent, tapering shape that knows its length (t, 0..1) and breadth (u, -1..1)."""

    def __init__(self, spine: np.ndarray, radius: np.ndarray) -> None:
        self.spine = spine  # (n, 2)
        self.radius = radius  # (n,)
        steps = np.gradient(spine, axis=0)
        length = np.hypot(steps[:, 0], steps[:, 1])[:, None] + 1e-9
        self.normal = np.stack([-steps[:, 1], steps[:, 0]], 1) / length
        self.t = np.linspace(0, 1, len(spine))

    @classmethod
    def through(cls, *points: tuple, round_start=True, round_end=True) -> "Tube":
        """Through (x, y, radius) points, with round caps unless told otherwise."""
        curve = smooth(np.array(points, float))
        caps = [curve]
        if round_start:
            caps.insert(0, cls._cap(curve[0], curve[0] - curve[1])[::-1])
        if round_end:
            caps.append(cls._cap(curve[-1], curve[-1] - curve[-2]))
        rows = np.concatenate(caps)
        return cls(rows[:, :2], np.maximum(rows[:, 2], 0))

    @staticmethod
    def _cap(end: np.ndarray, direction: np.ndarray) -> np.ndarray:
        direction = direction[:2] / (np.hypot(*direction[:2]) + 1e-9)
        angle = np.linspace(0.35, math.pi / 2, 5)[:, None]
        place = end[:2] + direction * end[2] * np.sin(angle)
        return np.concatenate([place, end[2] * np.cos(angle)], 1)

    @classmethod
    def ellipse(cls, x, y, rx, ry=None, angle=0.0, power=2.0) -> "Tube":
        """An ellipse; a higher power makes it squarer; `angle` turns it (radians)."""
        ry = rx if ry is None else ry
        along = -np.cos(np.linspace(0, math.pi, 21))
        along = np.sign(along) * np.abs(along) ** (2 / power)
        radius = rx * np.maximum(1 - np.abs(along) ** power, 0) ** (1 / power)
        place = np.stack([-math.sin(angle) * along, math.cos(angle) * along], 1)
        return cls(np.array([x, y]) + ry * place, radius)

    def at(self, t, u) -> np.ndarray:
        """The points (n, 2) at places along and across."""
        t, u = np.broadcast_arrays(np.asarray(t, float), np.asarray(u, float))
        offset = u * np.interp(t, self.t, self.radius)
        parts = (
            np.interp(t, self.t, self.spine[:, axis])
            + offset * np.interp(t, self.t, self.normal[:, axis])
            for axis in (0, 1)
        )
        return np.stack(list(parts), -1)

    def part(self, start: float, stop: float, swell: float = 1.0) -> "Tube":
        """The piece between two places along, a little thicker if asked."""
        t = np.linspace(start, stop, 15)
        return Tube(self.at(t, 0), np.interp(t, self.t, self.radius) * swell)

    def outline(self) -> np.ndarray:
        """The closed outline, (2n, 2)."""
        return np.concatenate([self.at(self.t, -1), self.at(self.t, 1)[::-1]])


@dataclass
class Style:
    """One hand: how thick its lines are, how it shades, how it shows fur and wool."""

    outline: float  # of the picture's size; 0 draws none
    ink: Colour | None  # None takes a darker shade of what is outlined
    shading: str  # flat, linear, round or cel
    depth: float  # how dark the shaded side gets
    light: float  # where the light comes from, radians
    fur: float  # strokes, 0..1
    wool: str  # plain, ribs, bands, knit or dots
    warp: float  # how far the proportions stray
    shadow: float  # on the ground, 0..1

    @classmethod
    def sample(cls, random: Random) -> "Style":
        """A hand never seen before."""
        dark = random.choice([(0, 0, 0), (40, 25, 20), (20, 20, 60)])
        return cls(
            outline=random.choice([0, 0, 0.004, 0.006, 0.01, 0.016]),
            ink=random.choice([None, None, dark, dark, (250, 250, 250)]),
            shading=random.choice(["flat", "linear", "round", "round", "cel"]),
            depth=random.uniform(0.1, 0.5),
            light=random.uniform(-math.pi, 0),
            fur=random.choice([0, 0, random.random(), 1]),
            wool=random.choice(["plain", "ribs", "bands", "knit", "dots"]),
            warp=random.uniform(0, 0.05),
            shadow=random.choice([0, random.uniform(0.1, 0.5)]),
        )

    def tone(self, size: int = 24) -> Image.Image:
        """The light on any one shape: white where it is lit, (size, size)."""
        y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        towards = math.cos(self.light), math.sin(self.light)
        if self.shading == "flat":
            tone = np.ones_like(x)
        elif self.shading == "round":
            away = np.hypot(x - 0.4 * towards[0], y - 0.4 * towards[1])
            tone = 1.15 - away**2 * 0.6
        else:
            tone = 0.5 + (x * towards[0] + y * towards[1]) * 0.6
        if self.shading == "cel":
            tone = (tone > 0.3).astype(float)
        return Image.fromarray((np.clip(tone, 0, 1) * 255).astype(np.uint8))


class Painter:
    """Paper of (width, height) pixels, a hand, and a memory of what went where."""

    def __init__(self, width: int, height: int, style: Style, random: Random) -> None:
        self.random = random
        self.style = style
        self.width, self.height = width * OVERSAMPLING, height * OVERSAMPLING
        self.image = Image.new("RGB", (self.width, self.height))
        self.codes = Image.new("L", (CODES, CODES))
        self.code = 0
        self.tone = style.tone()
        self.numbers = np.random.default_rng(random.getrandbits(64))
        self.place(0, 0, 1)

    def place(self, x, y, scale, tilt=0.0, mirror=False, warp=0.0) -> None:
        """Draw from here on at (x, y), in units of `scale` (oversampled pixels)."""
        self.origin = np.array([x, y])
        cos, sin = math.cos(tilt) * scale, math.sin(tilt) * scale
        flip = -1 if mirror else 1
        self.turn = np.array([[flip * cos, flip * sin], [-sin, cos]])
        self.scale = scale
        self.waves = self.numbers.uniform(-1, 1, (2, 4)) * warp
        self.bounds: list[np.ndarray] = []

    def project(self, points: np.ndarray) -> np.ndarray:
        """The painter's units to pixels, (n, 2)."""
        x, y = points[..., 0], points[..., 1]
        (a, b, c, d), (e, f, g, h) = self.waves
        bent = np.stack(
            [
                x * (1 + 2 * a) + b * np.sin(5 * y + 30 * c) + d * y * 2,
                y * (1 + 2 * e) + f * np.sin(5 * x + 30 * g) + h * x,
            ],
            -1,
        )
        return bent @ self.turn + self.origin

    def fill(self, tube: Tube, colour: Colour, code: int | None = None, edge=True):
        """Paint a shape in this hand: shading, then the outline."""
        outline = self.project(tube.outline())
        self.bounds.append(outline)
        self._fill_pixels(outline, colour)
        self._mark(outline, self.code if code is None else code)
        if edge and self.style.outline:
            ink = self.style.ink or lighter(colour, -0.55)
            self._stroke(outline, ink, self.style.outline * self.height, closed=True)

    def _fill_pixels(self, outline: np.ndarray, colour: Colour) -> None:
        points = [tuple(point) for point in outline]
        draw = ImageDraw.Draw(self.image)
        if self.style.shading == "flat":
            draw.polygon(points, fill=colour)
            return
        low = np.floor(outline.min(0)).astype(int)
        size = np.ceil(outline.max(0)).astype(int) - low + 1
        mask = Image.new("L", tuple(size))
        shifted = [tuple(point) for point in outline - low]
        ImageDraw.Draw(mask).polygon(shifted, fill=255)
        dark = Image.new("RGB", tuple(size), lighter(colour, -self.style.depth))
        light = Image.new("RGB", tuple(size), lighter(colour, 0.12))
        patch = Image.composite(light, dark, self.tone.resize(tuple(size)))
        self.image.paste(patch, tuple(low), mask)

    def _mark(self, outline: np.ndarray, code: int) -> None:
        scale = np.array([CODES / self.width, CODES / self.height])
        points = [tuple(point) for point in outline * scale]
        ImageDraw.Draw(self.codes).polygon(points, fill=code)

    def _stroke(self, points, colour, width, closed=False) -> None:
        path = [tuple(point) for point in points]
        path += path[:2] if closed else []
        draw = ImageDraw.Draw(self.image)
        draw.line(path, fill=colour, width=max(1, round(width)), joint="curve")

    def line(self, points, colour: Colour, width: float) -> None:
        """A line through (n, 2) points, its width in the painter's units."""
        self._stroke(self.project(np.asarray(points)), colour, width * self.scale)

    def fur(self, tube: Tube, colour: Colour, length=0.05) -> None:
        """Short strokes along the shape, where this hand shows fur at all."""
        count = int(self.style.fur * self.random.uniform(25, 110))
        if not count:
            return
        t = self.numbers.uniform(0.03, 0.97, count)
        u = self.numbers.uniform(-0.95, 0.95, count)
        start = tube.at(t, u)
        end = start + self.numbers.normal(0, length * 0.4, (count, 2))
        end[:, 1] += length
        strokes = zip(self.project(start), self.project(end))
        for shade, pair in zip(self.numbers.uniform(-0.3, 0.3, count), strokes):
            self._stroke(pair, lighter(colour, shade), self.scale * 0.006)

    def wool(self, tube: Tube, colour: Colour, code: int, edge=True) -> None:
        """Paint a knitted shape: its threads run along or across it."""
        self.fill(tube, colour, code, edge)
        style = self.style.wool
        shade = lighter(colour, self.random.choice([-0.22, 0.22]))
        threads = self.random.randint(4, 9)
        width = float(tube.radius.max()) * self.random.uniform(0.04, 0.12)
        t = np.linspace(0.02, 0.98, 14)
        if style == "ribs":
            for u in np.linspace(-0.85, 0.85, threads):
                self.line(tube.at(t, u), shade, width)
        elif style in ("bands", "knit"):
            u = np.linspace(-0.97, 0.97, 14 if style == "bands" else 4 * threads)
            zigzag = 0.05 * (np.arange(len(u)) % 2) if style == "knit" else 0
            for place in np.linspace(0.06, 0.9, threads):
                self.line(tube.at(place + zigzag, u), shade, width * 0.8)
        elif style == "dots":
            for t, u in self.numbers.uniform([0.1, -0.8], [0.9, 0.8], (3 * threads, 2)):
                x, y = tube.at(t, u)
                self.line([(x - width, y), (x + width, y)], shade, 2 * width)

    def shade(self, tube: Tube, strength: float, blur: float) -> None:
        """A soft shadow; `blur` in the painter's units."""
        outline = self.project(tube.outline())
        # blurred small, since a shadow has no detail to lose
        mask = Image.new("L", (self.width // 4, self.height // 4))
        points = [tuple(point) for point in outline / 4]
        ImageDraw.Draw(mask).polygon(points, fill=round(255 * strength))
        mask = mask.filter(ImageFilter.GaussianBlur(blur * self.scale / 4))
        self.image.paste((10, 10, 25), (0, 0), mask.resize(self.image.size))

    def cover(
        self, colour: Colour, other: Colour, tone: np.ndarray, top=0.0, bottom=1.0
    ):
        """Paint a band from edge to edge; `tone` (0..1, any shape) picks the colour."""
        low, high = round(top * self.height), round(bottom * self.height)
        size = self.width, max(1, high - low)
        mask = Image.fromarray((np.clip(tone, 0, 1) * 255).astype(np.uint8))
        mask = mask.resize(size, Image.Resampling.BICUBIC)
        both = (Image.new("RGB", size, each) for each in (other, colour))
        self.image.paste(Image.composite(*both, mask), (0, low))
        box = (0, round(top * CODES), CODES, round(bottom * CODES))
        self.codes.paste(self.code, box)

    def box(self) -> tuple[float, float, float, float]:
        """What was filled since `place`: left, top, right, bottom in 0..1."""
        points = np.concatenate(self.bounds) / [self.width, self.height]
        low, high = np.clip(points.min(0), 0, 1), np.clip(points.max(0), 0, 1)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def develop(image: Image.Image, size: tuple[int, int], random: Random) -> Image.Image:
    """Reduce to `size` under some light, through some lens, with some noise."""
    image = image.resize(size, Image.Resampling.BOX)
    if random.random() < 0.25:
        radius = random.uniform(0.3, 1.0) * min(size) / 224
        image = image.filter(ImageFilter.GaussianBlur(radius))
    image = ImageChops.multiply(image, _light(size, random))
    pixels = np.asarray(image, np.float32)
    gain, lift = random.uniform(0.88, 1.2), random.uniform(-8, 12)
    pixels = (pixels - 128) * random.uniform(0.8, 1.15) + 128
    pixels = pixels * gain + lift
    if random.random() < 0.4:
        grain = np.random.default_rng(random.getrandbits(64))
        sigma = random.uniform(1, 10)
        pixels += grain.standard_normal(pixels.shape, np.float32) * sigma
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if random.random() < 0.75:
        image = recompress(image, random.randint(30, 95))
    return image


def recompress(image: Image.Image, quality: int) -> Image.Image:
    """The picture after a JPEG of this quality."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _light(size: tuple[int, int], random: Random) -> Image.Image:
    y, x = np.mgrid[-1:1:16j, -1:1:16j]
    angle = random.uniform(-math.pi, math.pi)
    slope = random.choice([0, random.uniform(0, 0.15)])
    light = 1 + slope * (x * math.cos(angle) + y * math.sin(angle) - 1)
    light -= random.choice([0, 0, random.uniform(0, 0.2)]) * (x**2 + y**2) / 2
    tint = [random.uniform(0.93, 1) for _ in range(3)]
    pixels = np.clip(light[..., None] * tint, 0, 1) * 255
    return Image.fromarray(pixels.astype(np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
