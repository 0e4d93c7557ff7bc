"""Shapes to pixels: a painter draws them in one of many styles."""

import io
import math
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from demo.colours import Colour, lighten
from demo.tubes import Tube

OVERSAMPLING = 2  # Pillow's polygons have hard edges: draw larger, then reduce.
LABEL_SIDE = 112  # pixels a side of the map of labels


@dataclass
class Style:
    """How a drawing looks: outlines, shading, fur, wool and proportions."""

    outline: float  # width as a share of the image's height; 0 draws no outlines
    ink: Colour | None  # None is a darker shade of the shape's colour
    shading: str  # flat, linear, round or cel
    depth: float  # how dark the shaded side is, 0 to 1
    light: float  # the direction of the light, radians
    fur: float  # density of the strokes, 0 to 1
    wool: str  # plain, ribs, bands, knit or dots
    warp: float  # how much the proportions vary
    shadow: float  # strength of the shadow on the ground, 0 to 1

    @classmethod
    def sample(cls, random: Random) -> "Style":
        """Return a random style."""
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

    def light_map(self, size: int = 24) -> Image.Image:
        """Return the light on any shape (size, size): white where it is brightest."""
        y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        towards = math.cos(self.light), math.sin(self.light)
        if self.shading == "flat":
            light = np.ones_like(x)
        elif self.shading == "round":
            away = np.hypot(x - 0.4 * towards[0], y - 0.4 * towards[1])
            light = 1.15 - away**2 * 0.6
        else:
            light = 0.5 + (x * towards[0] + y * towards[1]) * 0.6
        if self.shading == "cel":
            light = (light > 0.3).astype(float)
        return Image.fromarray((np.clip(light, 0, 1) * 255).astype(np.uint8))


class Canvas:
    """An image to draw on, and a smaller map with the label of what is where.

    `label` is the label of what is drawn now.
    """

    def __init__(self, width: int, height: int, style: Style, random: Random) -> None:
        self.random = random
        self.style = style
        self.width, self.height = width * OVERSAMPLING, height * OVERSAMPLING
        self.image = Image.new("RGB", (self.width, self.height))
        self.labels = Image.new("L", (LABEL_SIDE, LABEL_SIDE))
        self.label = 0
        self.light = style.light_map()
        self.generator = np.random.default_rng(random.getrandbits(64))
        self.place(0, 0, 1)

    def place(self, x, y, scale, tilt=0.0, mirror=False, warp=0.0) -> None:
        """Move the origin to (x, y) and let one unit be `scale` pixels.

        All in pixels of the oversampled image. `warp` distorts what is drawn next.
        """
        self.origin = np.array([x, y])
        cos, sin = math.cos(tilt) * scale, math.sin(tilt) * scale
        flip = -1 if mirror else 1
        self.rotation = np.array([[flip * cos, flip * sin], [-sin, cos]])
        self.scale = scale
        self.distortion = self.generator.uniform(-1, 1, (2, 4)) * warp
        self.outlines: list[np.ndarray] = []

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the pixels (n, 2) of points in units (n, 2)."""
        x, y = points[..., 0], points[..., 1]
        (a, b, c, d), (e, f, g, h) = self.distortion
        bent = np.stack(
            [
                x * (1 + 2 * a) + b * np.sin(5 * y + 30 * c) + d * y * 2,
                y * (1 + 2 * e) + f * np.sin(5 * x + 30 * g) + h * x,
            ],
            -1,
        )
        return bent @ self.rotation + self.origin

    def fill(self, tube: Tube, colour: Colour, label: int | None = None, edge=True):
        """Draw a shape: its shading, its label, then its outline."""
        outline = self.project(tube.outline())
        self.outlines.append(outline)
        self._fill_pixels(outline, colour)
        self._fill_labels(outline, self.label if label is None else label)
        if edge and self.style.outline:
            ink = self.style.ink or lighten(colour, -0.55)
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
        dark = Image.new("RGB", tuple(size), lighten(colour, -self.style.depth))
        bright = Image.new("RGB", tuple(size), lighten(colour, 0.12))
        patch = Image.composite(bright, dark, self.light.resize(tuple(size)))
        self.image.paste(patch, tuple(low), mask)

    def _fill_labels(self, outline: np.ndarray, label: int) -> None:
        scale = np.array([LABEL_SIDE / self.width, LABEL_SIDE / self.height])
        points = [tuple(point) for point in outline * scale]
        ImageDraw.Draw(self.labels).polygon(points, fill=label)

    def _stroke(self, points, colour, width, closed=False) -> None:
        path = [tuple(point) for point in points]
        path += path[:2] if closed else []
        draw = ImageDraw.Draw(self.image)
        draw.line(path, fill=colour, width=max(1, round(width)), joint="curve")

    def line(self, points, colour: Colour, width: float) -> None:
        """Draw a line through points (n, 2); its width is in units."""
        self._stroke(self.project(np.asarray(points)), colour, width * self.scale)

    def box(self) -> tuple[float, float, float, float]:
        """Return what was filled since `place` as left, top, right, bottom (0 to 1)."""
        points = np.concatenate(self.outlines) / [self.width, self.height]
        low, high = np.clip(points.min(0), 0, 1), np.clip(points.max(0), 0, 1)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


class Painter(Canvas):
    """A canvas with fur, wool, shadows and backgrounds."""

    def fur(self, tube: Tube, colour: Colour, length=0.05) -> None:
        """Draw short strokes along a shape, if the style has any."""
        count = int(self.style.fur * self.random.uniform(25, 110))
        if not count:
            return
        t = self.generator.uniform(0.03, 0.97, count)
        u = self.generator.uniform(-0.95, 0.95, count)
        start = tube.at(t, u)
        end = start + self.generator.normal(0, length * 0.4, (count, 2))
        end[:, 1] += length
        strokes = zip(self.project(start), self.project(end))
        for shade, pair in zip(self.generator.uniform(-0.3, 0.3, count), strokes):
            self._stroke(pair, lighten(colour, shade), self.scale * 0.006)

    def wool(self, tube: Tube, colour: Colour, label: int, edge=True) -> None:
        """Draw a knitted shape with threads along it or across it."""
        self.fill(tube, colour, label, edge)
        style = self.style.wool
        shade = lighten(colour, self.random.choice([-0.22, 0.22]))
        threads = self.random.randint(4, 9)
        width = float(tube.radius.max()) * self.random.uniform(0.04, 0.12)
        t = np.linspace(0.02, 0.98, 14)
        if style == "ribs":
            for u in np.linspace(-0.85, 0.85, threads):
                self.line(tube.at(t, u), shade, width)
        elif style in ("bands", "knit"):
            u = np.linspace(-0.97, 0.97, 14 if style == "bands" else 4 * threads)
            zigzag = 0.05 * (np.arange(len(u)) % 2) if style == "knit" else 0
            for row in np.linspace(0.06, 0.9, threads):
                self.line(tube.at(row + zigzag, u), shade, width * 0.8)
        elif style == "dots":
            size = (3 * threads, 2)
            for t, u in self.generator.uniform([0.1, -0.8], [0.9, 0.8], size):
                x, y = tube.at(t, u)
                self.line([(x - width, y), (x + width, y)], shade, 2 * width)

    def shadow(self, tube: Tube, strength: float, blur: float) -> None:
        """Draw a soft shadow; the radius of the blur is in units."""
        outline = self.project(tube.outline())
        # A shadow has no details, so it is blurred at a quarter of the size.
        mask = Image.new("L", (self.width // 4, self.height // 4))
        points = [tuple(point) for point in outline / 4]
        ImageDraw.Draw(mask).polygon(points, fill=round(255 * strength))
        mask = mask.filter(ImageFilter.GaussianBlur(blur * self.scale / 4))
        self.image.paste((10, 10, 25), (0, 0), mask.resize(self.image.size))

    def band(
        self, colour: Colour, other: Colour, pattern: np.ndarray, top=0.0, bottom=1.0
    ):
        """Cover the full width between two heights (0 to 1).

        Where the pattern (0 to 1, any shape) is 0 the band has `other` as its colour,
        and where it is 1 `colour`.
        """
        low, high = round(top * self.height), round(bottom * self.height)
        size = self.width, max(1, high - low)
        mask = Image.fromarray((np.clip(pattern, 0, 1) * 255).astype(np.uint8))
        mask = mask.resize(size, Image.Resampling.BICUBIC)
        both = (Image.new("RGB", size, each) for each in (other, colour))
        self.image.paste(Image.composite(*both, mask), (0, low))
        box = (0, round(top * LABEL_SIDE), LABEL_SIDE, round(bottom * LABEL_SIDE))
        self.labels.paste(self.label, box)


def augment(image: Image.Image, size: tuple[int, int], random: Random) -> Image.Image:
    """Reduce an image to `size`, then vary its light, blur, noise and compression."""
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
    """Return the image as a JPEG of this quality shows it."""
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
