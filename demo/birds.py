"""The two birds: penguin and duck."""

import numpy as np

from demo.animals import DARK, WHITE, Animal
from demo.colours import Colour, lighten, random_colour
from demo.garments import draw_hat, draw_scarf, draw_sweater
from demo.heads import Head, draw_eyes
from demo.tubes import Tube


def draw_penguin(animal: Animal) -> None:
    """Draw a penguin from the front."""
    random, breadth, orange = animal.random, animal.breadth, random_orange(animal)
    turn = random.uniform(-0.05, 0.05)
    for side in (-1, 1):
        foot = Tube.ellipse(side * 0.11 * breadth, -0.025, 0.1, 0.035)
        animal.painter.fill(foot, orange)
    body = Tube.through(
        (0, -0.8, 0.15 * breadth),
        (0, -0.5, 0.22 * breadth),
        (0, -0.2, 0.2 * breadth),
    )
    animal.skin(body)
    belly = Tube.ellipse(turn, -0.36, 0.17 * breadth, 0.3, 0, 2.4)
    animal.skin(belly, WHITE, edge=False)
    draw_sweater(animal, body, random.uniform(0.36, 0.42), random.uniform(0.76, 0.88))
    draw_flippers(animal, breadth)
    draw_scarf(animal, 0, -0.63, 0.17 * breadth)
    draw_penguin_face(animal, Head(turn, -0.8, 0.17 * breadth, 2 * turn), orange)
    draw_hat(
        animal, 0, -0.8 - 0.11 * breadth, 0.11 * breadth, random.uniform(-0.25, 0.25)
    )


def draw_flippers(animal: Animal, breadth: float) -> None:
    random = animal.random
    for side in (-1, 1):
        out = random.uniform(0.28, 0.42)
        flipper = Tube.through(
            (side * 0.18 * breadth, -0.58, 0.05),
            (side * (out - 0.05), -0.4, 0.055),
            (side * out, random.uniform(-0.32, -0.2), 0.02),
        )
        animal.skin(flipper)
        if animal.has_sleeves:
            animal.knit(flipper.part(0, 0.6, 1.25))


def random_orange(animal: Animal) -> Colour:
    """Return a colour of beaks and feet."""
    return random_colour(animal.random, (22, 36), (0.8, 1), (0.85, 1))


def draw_penguin_face(animal: Animal, head: Head, orange: Colour) -> None:
    """Draw eyes, in most cases in a white area, and a beak that points down."""
    yaw = head.yaw
    if animal.random.random() < 0.8:
        for side in (-1, 1):
            face = head.ellipse(yaw + side * 0.34, 0.08, 0.4, 0.42)
            animal.skin(face, WHITE, edge=False)
    draw_eyes(animal, head, animal.random.uniform(0.32, 0.42), 0, 0.13)
    points = (yaw, 0.15, 0.22), (yaw, animal.random.uniform(0.5, 0.65), 0.02)
    beak = head.tube(*points, round_start=False, round_end=False)
    animal.painter.fill(beak, orange)


def draw_duck(animal: Animal) -> None:
    """Draw a duck from the side."""
    random, breadth, orange = animal.random, animal.breadth, random_orange(animal)
    for x in (-0.02, 0.12):
        leg = np.array([(x, -0.2), (x, -0.03)])
        animal.painter.line(leg, orange, 0.04)
        animal.painter.fill(Tube.ellipse(x + 0.04, -0.025, 0.08, 0.03), orange)
    body = Tube.through(
        (-0.46, -random.uniform(0.46, 0.58), 0.02),
        (-0.2, -0.36, 0.17 * breadth),
        (0.05, -0.32, 0.19 * breadth),
        (0.24, -0.38, 0.15 * breadth),
    )
    animal.skin(body)
    wing = Tube.ellipse(-0.12, -0.37, 0.1 * breadth, 0.19, 1.75)
    animal.skin(wing, lighten(animal.coat, random.choice([-0.15, -0.3, 0.15])))
    draw_duck_head(animal, body, orange)


def draw_duck_head(animal: Animal, body: Tube, orange: Colour) -> None:
    """Draw the neck, the garment and the head of a duck."""
    random = animal.random
    x, y = 0.3 + random.uniform(-0.05, 0.06), -random.uniform(0.76, 0.86)
    neck = Tube.through((0.23, -0.42, 0.1), (x - 0.02, y + 0.15, 0.08), (x, y, 0.09))
    green = animal.coat[0] < 170 and random.random() < 0.5
    crown = (30, 100, 70) if green else animal.coat
    animal.skin(neck, animal.coat)
    draw_sweater(animal, body, random.uniform(0.3, 0.38), 0.92)
    if animal.garment == "sweater":
        animal.knit(neck.part(0.05, 0.4, 1.2))
    draw_scarf(animal, x - 0.03, y + 0.2, 0.11, random.uniform(-0.2, 0.1))
    head = Head(x, y, 0.135 * random.uniform(0.9, 1.2))
    animal.skin(head.ellipse(0, 0, 1, 0.95), crown)
    draw_bill(animal, head, orange)
    draw_hat(
        animal,
        x - 0.01,
        y - 0.65 * head.size,
        0.6 * head.size,
        random.uniform(-0.4, 0.1),
    )


def draw_bill(animal: Animal, head: Head, orange: Colour) -> None:
    """Draw a flat, long bill and one eye."""
    far, flat = animal.random.uniform(1.7, 2.1), animal.random.uniform(0.16, 0.26)
    bill = head.tube((0.75, 0.15, 0.3), (1.3, 0.28, flat), (far, 0.2, flat))
    animal.painter.fill(bill, orange)
    line = head.line((0.9, 0.3), (far, 0.25))
    animal.painter.line(line, lighten(orange, -0.4), head.size * 0.05)
    eye = head.ellipse(0.35, -0.2, animal.random.uniform(0.13, 0.2))
    animal.painter.fill(eye, DARK, edge=False)
    glint = head.ellipse(0.4, -0.26, 0.06)
    animal.painter.fill(glint, WHITE, edge=False)
