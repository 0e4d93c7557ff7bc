"""Shapes to french_bulldog.jpg, the example image: `python -m demo.french_bulldog`.

It shows a French bulldog in a yellow sweater on a blue background. Each shape becomes a
height map, which is lit from the upper left. Training uses none of this code, so the
image is in a style that is new to the captioner.
"""

import math
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 1000  # pixels a side of the square that holds the dog
LIGHT = np.array([-0.45, -0.6, 0.66])  # points to the light; x is to the right, y down

FAWN = (222, 184, 135)
CREAM = (247, 229, 200)
MASK = (72, 56, 50)
PINK = (226, 160, 148)
YELLOW = (252, 198, 28)
BLUE = (44, 116, 200)

Y, X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


def blur(plane: np.ndarray, radius: float) -> np.ndarray:
    """Return a blurred copy of floats (height, width)."""
    # Pillow cannot blur floats, and 8 bits would leave visible steps in the light.
    low, high = float(plane.min()), float(plane.max()) + 1e-6
    fine = (plane - low) / (high - low) * 255
    parts = [np.floor(fine), (fine - np.floor(fine)) * 255]
    soft = (
        np.asarray(_gauss(Image.fromarray(part.astype(np.uint8)), radius), np.float32)
        for part in parts
    )
    whole, rest = soft
    return (whole + rest / 255) / 255 * (high - low) + low


def _gauss(image: Image.Image, radius: float) -> Image.Image:
    """Blur, on a reduced copy if the radius is large, which is ten times as fast."""
    step = max(1, int(radius // 6))
    small = image.reduce(step) if step > 1 else image
    small = small.filter(ImageFilter.GaussianBlur(radius / step))
    return small.resize(image.size, Image.Resampling.BICUBIC) if step > 1 else small


def curve(*points: tuple[float, float]) -> np.ndarray:
    """Return a closed smooth line (16n, 2) through points."""
    knots = np.array(points, float)
    a, b, c, d = (np.roll(knots, shift, 0)[:, None] for shift in (1, 0, -1, -2))
    t = np.linspace(0, 1, 16, endpoint=False)[None, :, None]
    bent = b + t / 2 * (
        c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))
    )
    return bent.reshape(-1, 2)


def area(points: np.ndarray, soft: float = 1.2) -> np.ndarray:
    """Return the share (0 to 1) of each pixel that lies inside, (1000, 1000)."""
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=255)
    return np.asarray(_gauss(image, soft), np.float32) / 255


def oval(x, y, rx, ry, angle=0.0) -> np.ndarray:
    """Return the outline (72, 2) of an ellipse turned by `angle` (radians)."""
    t = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    along, across = rx * np.cos(t), ry * np.sin(t)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.stack([x + along * cos - across * sin, y + along * sin + across * cos], 1)


def as_drawn(points: np.ndarray) -> np.ndarray:
    """Return the outline unchanged: on the left of the image."""
    return points


def mirrored(points: np.ndarray) -> np.ndarray:
    """Return the outline on the other side of the dog."""
    return points * [-1, 1] + [SIDE, 0]


def inflate(mask: np.ndarray, depth: float) -> np.ndarray:
    """Return a height map that rises from the edge over `depth` pixels inwards."""
    total = np.zeros_like(mask)
    for share in (0.25, 0.5, 1.0):
        total += share * np.clip(2 * blur(mask, depth * share) - 1, 0, 1)
    return depth * np.sqrt(np.maximum(total / 1.75, 0))


def flat(colour) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.float32), (SIDE, SIDE, 3))


def tinted(albedo: np.ndarray, colour, share: np.ndarray) -> np.ndarray:
    """Mix another colour into the albedo; its share has the shape (1000, 1000)."""
    return albedo + (np.array(colour, np.float32) - albedo) * share[..., None]


class Clay:
    """A transparent square with lit shapes, added from the back to the front."""

    def __init__(self, seed: int = 7) -> None:
        self.colour = np.zeros((SIDE, SIDE, 3), np.float32)
        self.alpha = np.zeros((SIDE, SIDE), np.float32)
        self.generator = np.random.default_rng(seed)

    def lay(self, mask, albedo, height, shine=0.0, contact=0.4) -> None:
        """Light a shape and add it with a soft shadow on what is below."""
        below = np.roll(blur(mask, 16), (12, 6), (0, 1))
        self.colour *= 1 - contact * below[..., None] * (1 - mask[..., None])
        down, right = np.gradient(height)
        normal = np.stack([-right, -down, np.ones_like(down)], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        light = normal @ LIGHT
        bounce = np.clip(normal[..., 1], 0, 1) * 0.1
        lit = 0.5 + 0.72 * np.clip(light, -0.25, 1) + bounce
        tone = albedo * lit[..., None] ** [0.9, 1.0, 1.08]  # Shadows are warmer.
        half = (LIGHT + [0, 0, 1]) / np.linalg.norm(LIGHT + [0, 0, 1])
        tone += shine * 255 * np.clip(normal @ half, 0, 1)[..., None] ** 40
        kept = self.alpha * (1 - mask)
        total = mask + kept
        share = np.divide(mask, total, out=np.zeros_like(mask), where=total > 0)
        self.colour += (tone - self.colour) * share[..., None]
        self.alpha = total

    def fur(self, points, colour, depth, flow, markings=(), length=13.0) -> None:
        """Add a shape with fur; `flow(x, y)` is the direction of the hair."""
        mask = area(points)
        albedo = flat(colour)
        for other, share in markings:
            albedo = tinted(albedo, other, share)
        hair, fringe = self._hair(mask, flow, length)
        # Wider than the shape, so that the fringe has the light of the shape.
        height = inflate(np.clip(4 * blur(mask, 7), 0, 1), depth) + 0.6 * hair
        self.lay(np.maximum(mask, fringe), albedo * (1 + 0.2 * hair[..., None]), height)

    def _hair(self, mask, flow, length) -> tuple[np.ndarray, np.ndarray]:
        """Return the strokes (-1 to 1) and those beyond the edge (0 to 1)."""
        image, edge = Image.new("L", (SIDE, SIDE), 128), Image.new("L", (SIDE, SIDE))
        pen, outer = ImageDraw.Draw(image), ImageDraw.Draw(edge)
        inside = np.argwhere(mask > 0.6)
        count = min(len(inside) // 9, 16000)
        start = inside[self.generator.integers(0, len(inside), count)][:, ::-1]
        way = np.stack(flow(*start.T.astype(float)), 1)
        way = way / (np.linalg.norm(way, axis=1, keepdims=True) + 1e-6)
        way += self.generator.normal(0, 0.22, way.shape)
        end = start + way * length * self.generator.uniform(0.5, 1.3, (count, 1))
        for a, b, shade in zip(start, end, self.generator.normal(128, 34, count)):
            pen.line([*a, *b], fill=int(np.clip(shade, 20, 235)), width=2)
            outer.line([*a, *b], fill=255, width=1)
        soft = (np.asarray(_gauss(each, 0.8), np.float32) for each in (image, edge))
        hair, fringe = soft
        return (hair - 128) / 64, fringe / 255 * 0.8

    def smooth(self, points, colour, depth, shine=0.0, contact=0.3, soft=1.2) -> None:
        """Add a shape without fur: a nose, an eye, a claw."""
        mask = area(points, soft)
        self.lay(mask, flat(colour), inflate(mask, depth), shine, contact)

    def wool(
        self, points, depth, across, along, stitch, folds=0.0, contact=0.5
    ) -> None:
        """Add a knitted shape; `across` counts stitches and `along` counts rows."""
        mask = area(points, 1.6)
        bump, amount = {"knit": (knit, 3.6), "rib": (rib, 5.0)}[stitch]
        relief = bump(across, along)
        albedo = tinted(flat(YELLOW), (196, 120, 0), 0.55 * (1 - relief) ** 2)
        height = inflate(mask, depth) + amount * relief + folds
        self.lay(mask, albedo, height, 0, contact)

    def dim(self, points, strength: float, soft: float) -> None:
        """Darken a wrinkle or a shadow."""
        share = strength * area(points, soft)
        self.colour *= 1 - share[..., None] * [0.85, 1.0, 1.05]

    def image(self) -> Image.Image:
        pixels = np.dstack([self.colour, self.alpha * 255])
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGBA")


def knit(across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the relief (0 to 1) of columns of V-shaped stitches."""
    column = np.abs((across % 1) * 2 - 1)  # 0 at the point of the V
    row = (along - 0.55 * column) % 1
    strand = np.sin(math.pi * np.clip(column * 0.92 + 0.04, 0, 1)) ** 0.5
    return strand * np.sin(math.pi * row) ** 0.6


def rib(across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the relief (0 to 1) of ridges with faint rows."""
    ridge = np.abs(np.sin(math.pi * across)) ** 0.7
    return ridge * (0.88 + 0.12 * np.abs(np.sin(math.pi * along)))


def crease(*points: tuple[float, float], width: float = 6.0) -> np.ndarray:
    """Return the outline of a line that is thick in the middle and thin at its ends."""
    knots = np.array(points, float)
    t = np.linspace(0, 1, 30)
    place = np.linspace(0, 1, len(knots))
    line = np.stack([np.interp(t, place, knots[:, axis]) for axis in (0, 1)], 1)
    for _ in range(3):
        line[1:-1] = (line[:-2] + line[1:-1] + line[2:]) / 3
    steps = np.gradient(line, axis=0)
    normal = np.stack([-steps[:, 1], steps[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    half = normal * (width / 2 * np.sin(math.pi * t) ** 0.7)[:, None]
    return np.concatenate([line + half, (line - half)[::-1]])


def spot(x, y, rx, ry=None) -> np.ndarray:
    """Return a round spot (1000, 1000): 1 in the middle, falling to 0 outside."""
    ry = ry or rx
    return np.clip(1.25 - np.hypot((X - x) / rx, (Y - y) / ry), 0, 1) ** 1.2


@cache
def dog() -> Image.Image:
    """Return the whole dog on a transparent square."""
    clay = Clay()
    hind_legs(clay)
    sweater(clay)
    forelegs(clay)
    collar(clay)
    body, face = clay.image(), head().rotate(
        -4, Image.Resampling.BICUBIC, center=(500, 520)
    )
    shadow = np.asarray(face.getchannel("A"), np.float32) / 255
    shadow = np.roll(blur(shadow, 26), (34, 12), (0, 1)) * 0.5
    shadow *= np.asarray(body.getchannel("A"), np.float32) / 255
    shade = Image.fromarray((shadow * 255).astype(np.uint8))
    body.paste(Image.new("RGBA", body.size, (60, 30, 10, 255)), (0, 0), shade)
    return Image.alpha_composite(body, face)


def downwards(x, y):
    return 0.0006 * (x - 500), np.ones_like(y)


def hind_legs(clay: Clay) -> None:
    for flip in (as_drawn, mirrored):
        clay.fur(flip(oval(290, 800, 125, 140, 0.25)), FAWN, 110, downwards)
        paw(clay, flip(oval(262, 930, 92, 44)), flip, 262, 930)


def paw(clay: Clay, outline, flip, x: float, y: float) -> None:
    """Add a paw with toes and claws; `x` is where its left side is."""
    light = [(CREAM, np.full((SIDE, SIDE), 0.55, np.float32))]
    clay.fur(outline, FAWN, 32, downwards, light, 8)
    for toe in (-34, 0, 34):
        clay.smooth(flip(oval(x + toe * 1.15, y + 36, 6, 9)), (60, 48, 44), 4, 0.3)
    for toe in (-17, 17):
        line = crease(
            (x + toe, y - 10), (x + toe * 1.2, y + 14), (x + toe, y + 38), width=7
        )
        clay.dim(flip(line), 0.5, 2.5)


def sweater(clay: Clay) -> None:
    trunk = curve(
        (340, 540), (500, 505), (660, 540), (735, 660), (752, 800), (700, 870),
        (500, 888), (300, 870), (248, 800), (265, 660),
    )  # fmt: skip
    round_body = np.arcsin(np.clip((X - 500) / 262, -1, 1))
    sag = 26 * np.cos(round_body)
    ridges = sum(
        size * np.exp(-(((Y - y - slope * (X - 500)) / 13) ** 2))
        for y, slope, size in [
            (640, 0.25, 7),
            (700, -0.3, 8),
            (765, 0.12, 6),
            (600, -0.1, 5),
        ]
    )
    clay.wool(trunk, 95, round_body * 9.5, (Y - sag) / 24, "knit", blur(ridges, 5))
    hem = curve(
        (262, 806), (380, 838), (500, 846), (620, 838), (738, 806), (742, 856),
        (640, 894), (500, 904), (360, 894), (258, 856),
    )  # fmt: skip
    clay.wool(hem, 26, round_body * 15, (Y - sag) / 14, "rib", 0, 0.35)


def forelegs(clay: Clay) -> None:
    for flip, sign in ((as_drawn, 1), (mirrored, -1)):
        leg = curve((372, 780), (470, 780), (462, 920), (374, 920))
        clay.fur(flip(leg), FAWN, 46, downwards)
        paw(clay, flip(oval(416, 932, 80, 44)), flip, 416, 932)
        middle = 500 - sign * 84
        around = np.arcsin(np.clip((X - middle) / 78, -1, 1))
        sleeve = curve(
            (352, 650), (420, 600), (486, 655), (484, 800), (416, 812), (350, 800)
        )
        clay.wool(flip(sleeve), 55, around * 3.4, (Y - 8 * np.cos(around)) / 24, "knit")
        cuff = curve(
            (350, 786), (416, 800), (484, 786), (482, 836), (416, 850), (354, 836)
        )
        clay.wool(flip(cuff), 20, around * 5, Y / 14, "rib", 0, 0.4)


def collar(clay: Clay) -> None:
    roll = curve(
        (330, 508), (420, 552), (500, 562), (580, 552), (670, 508), (696, 524),
        (686, 574), (610, 624), (500, 642), (390, 624), (314, 574), (304, 524),
    )  # fmt: skip
    around = np.arcsin(np.clip((X - 500) / 215, -1, 1))
    clay.wool(roll, 40, around * 13, Y / 15, "rib", 0, 0.55)


def head() -> Image.Image:
    clay = Clay(11)
    ears(clay)
    skull(clay)
    eyes(clay)
    muzzle(clay)
    return clay.image()


def ears(clay: Clay) -> None:
    for flip in (as_drawn, mirrored):
        ear = curve(
            (286, 310), (244, 190), (240, 92), (276, 44), (330, 46), (384, 98),
            (430, 176), (440, 260),
        )  # fmt: skip
        dark = blur(area(flip(ear)), 20)
        rim = [(MASK, np.clip(1.15 - dark, 0, 1) * 0.9)]
        clay.fur(flip(ear), FAWN, 30, lambda x, y: (0 * x, -np.ones_like(y)), rim)
        inner = curve(
            (306, 280), (276, 190), (272, 110), (292, 80), (324, 84), (360, 130),
            (388, 196), (386, 260),
        )  # fmt: skip
        bowl = area(flip(inner), 5)
        colour = tinted(flat(PINK), MASK, np.clip((Y - 150) / 260, 0, 0.6))
        clay.lay(bowl, colour, -0.8 * inflate(bowl, 26), 0, 0.0)


def skull(clay: Clay) -> None:
    outline = curve(
        (500, 178), (610, 184), (704, 240), (742, 350), (728, 456), (650, 524),
        (500, 548), (350, 524), (272, 456), (258, 350), (296, 240), (390, 184),
    )  # fmt: skip
    blaze = np.exp(-(((X - 500) / (20 + (Y - 200).clip(0) * 0.05)) ** 2)) * (Y < 380)
    marks = [
        (CREAM, 0.8 * spot(330, 470, 110, 80) + 0.8 * spot(670, 470, 110, 80)),
        (CREAM, 0.85 * blur(blaze.astype(np.float32), 5)),
        (MASK, 0.75 * np.maximum(spot(392, 350, 88, 76), spot(608, 350, 88, 76))),
        (MASK, 0.95 * spot(500, 440, 150, 96)),
    ]
    marks = [(colour, np.clip(share, 0, 1)) for colour, share in marks]
    clay.fur(outline, FAWN, 120, lambda x, y: (x - 500, y - 400), marks, 12)
    for y, wide, up in [(286, 74, 22), (258, 96, 20), (232, 84, 14)]:
        for sign in (-1, 1):
            line = crease((500 + sign * 6, y + up), (500 + sign * wide * 0.5, y - 4),
                          (500 + sign * wide, y + up * 0.5), width=12)  # fmt: skip
            clay.dim(line, 0.32, 4)
    clay.dim(crease((500, 226), (497, 262), (500, 300), width=9), 0.3, 4)


def eyes(clay: Clay) -> None:
    for x in (394, 606):
        clay.dim(oval(x, 352, 56, 54), 0.55, 9)
        clay.smooth(oval(x, 352, 47, 46), (236, 228, 220), 20)
        clay.smooth(oval(x, 353, 42, 43), (88, 48, 22), 22, 0.0, 0.0)
        ring = spot(x, 366, 44) * area(oval(x, 353, 41, 42))
        clay.colour += ring[..., None] * np.array([70, 38, 12]) * 0.9
        clay.smooth(oval(x, 353, 25, 26), (14, 10, 10), 10, 0.0, 0.0)
        lid = curve((x - 56, 348), (x - 30, 306), (x + 30, 306), (x + 56, 348),
                    (x + 30, 322), (x - 30, 322))  # fmt: skip
        clay.fur(lid, MASK, 12, lambda a, b: (a - 500, b - 420), (), 6)
        clay.smooth(oval(x - 14, 336, 11, 12), (255, 255, 255), 1, 0, 0, 1.5)
        clay.smooth(oval(x + 13, 368, 5, 5), (235, 225, 215), 1, 0, 0, 1.5)


def muzzle(clay: Clay) -> None:
    chin = curve((410, 500), (500, 486), (590, 500), (574, 552), (500, 572), (426, 552))
    clay.fur(chin, (120, 96, 84), 34, downwards, (), 8)
    clay.smooth(curve((466, 500), (534, 500), (532, 552), (500, 570), (468, 552)),
                (224, 112, 116), 20, 0.1)  # fmt: skip
    clay.dim(crease((500, 505), (500, 535), (500, 560), width=6), 0.3, 2)
    for flip, sign in ((as_drawn, -1), (mirrored, 1)):
        lobe = curve((500, 420), (420, 398), (352, 432), (338, 498), (376, 540),
                     (440, 530), (488, 500), (502, 470))  # fmt: skip
        grey = [((128, 104, 92), spot(500 + sign * 120, 500, 70, 60))]
        clay.fur(flip(lobe), MASK, 52, lambda x, y: (x - 500, y - 380), grey, 9)
        for x, y in [(430, 466), (404, 482), (442, 490), (416, 508), (388, 462)]:
            clay.dim(flip(oval(x, y, 4, 4)), 0.6, 1.2)
        fold = crease((440, 392), (376, 408), (334, 452), (326, 500), width=14)
        clay.dim(flip(fold), 0.45, 5)
    nose = curve((500, 388), (548, 386), (570, 412), (548, 442), (500, 456), (452, 442),
                 (430, 412), (452, 386))  # fmt: skip
    clay.smooth(nose, (38, 32, 34), 30, 0.55)
    for x, lean in ((470, 0.5), (530, -0.5)):
        clay.dim(oval(x, 424, 16, 9, lean), 0.9, 2)
    clay.dim(crease((500, 440), (500, 470), (500, 502), width=7), 0.8, 1.5)


def studio(width: int, height: int) -> Image.Image:
    """Return a blue background that is brightest behind the dog."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    glow = np.exp(-(((x - 0.45) / 0.42) ** 2 + ((y - 0.38) / 0.5) ** 2))
    floor = 1 / (1 + np.exp(-(y - 0.84) * 45))
    light = 0.72 + 0.5 * glow + 0.1 * floor - 0.22 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    pixels = np.array(BLUE) * light[..., None] + 22 * glow[..., None]
    grain = np.random.default_rng(3).normal(0, 1.2, (height, width, 1))
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def portrait(width=640, height=427, scale=0.98, x=0.5, y=0.985, mirror=False):
    """Return the dog with its feet at (x, y), all as shares of the image's size."""
    image, size = studio(width, height), round(height * scale)
    figure = dog().resize((size, size), Image.Resampling.LANCZOS)
    if mirror:
        figure = figure.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    left, top = round(width * x - size / 2), round(height * y - size * 0.975)
    ground = Image.new("L", image.size)
    feet = left + size * 0.13, top + size * 0.915, left + size * 0.9, top + size * 1.01
    ImageDraw.Draw(ground).ellipse(feet, fill=170)
    ground = ground.filter(ImageFilter.GaussianBlur(size * 0.025))
    image.paste((8, 28, 70), (0, 0, width, height), ground)
    image.paste(figure, (left, top), figure)
    return image


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "french_bulldog.jpg"
    portrait().save(target, quality=92)
