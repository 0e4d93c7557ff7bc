"""Animals in their poses: each is drawn from the back to the front."""

from demo.animals import Animal
from demo.birds import draw_duck, draw_penguin
from demo.colours import lighten
from demo.garments import draw_collar, draw_hat, draw_scarf, draw_sweater
from demo.heads import HEADS, Head
from demo.painting import Painter
from demo.tubes import Tube


def draw_animal(
    painter: Painter, species: str, garment: str | None, colour: str | None, label: int
) -> None:
    """Draw an animal at the painter's origin; `label` is the garment's label."""
    animal = Animal(painter, species, garment, colour, label)
    painter.random.choice(POSES.get(species, WALKING_POSES))(animal)


def draw_sitting(animal: Animal) -> None:
    """Draw an animal that sits, from the front."""
    radius, foot = animal.leg_sizes()
    size, breadth = animal.head_size(), animal.breadth
    yaw = animal.random.uniform(-0.3, 0.3)
    top = -animal.random.uniform(0.6, 0.72)
    animal.tail(0.16, -0.12, 1)
    for side in (-1, 1):
        animal.skin(Tube.ellipse(side * 0.19 * breadth, -0.13, 0.12, 0.13))
        animal.skin(Tube.ellipse(side * 0.22 * breadth, -foot, 0.09, foot), fur=False)
    body = Tube.through(
        (0, top + size * 0.6, 0.13 * breadth),
        (0, top / 2 - 0.05, 0.18 * breadth),
        (0, -0.17, 0.22 * breadth),
    )
    animal.skin(body)
    animal.chest(0, top / 2, 0.11 * breadth, 0.2)
    draw_sweater(animal, body, 0.12, animal.random.uniform(0.64, 0.95))
    for side in (-1, 1):
        lean = side * animal.random.uniform(-0.01, 0.03)
        animal.leg(side * 0.105 * breadth, top / 2 - 0.05, radius, foot, lean)
    draw_head(animal, Head(animal.random.uniform(-0.03, 0.03), top, size, yaw), breadth)


def draw_standing(animal: Animal) -> None:
    """Draw an animal that stands on four legs, from the front."""
    radius, foot = animal.leg_sizes()
    size, breadth = animal.head_size(), animal.breadth
    yaw = animal.random.uniform(-0.4, 0.4)
    top = -animal.random.uniform(0.6, 0.7)
    animal.tail(0.12, -0.4, 1)
    behind = lighten(animal.coat, -0.2)
    for side in (-1, 1):
        x = side * 0.17 * breadth
        animal.leg(x, -0.3, radius * 0.9, foot, 0, sleeve=False, colour=behind)
    body = Tube.ellipse(0, -0.4, 0.23 * breadth, 0.22, 0, 2.4)
    animal.skin(body)
    animal.chest(0, -0.38, 0.12 * breadth, 0.16)
    draw_sweater(animal, body, 0.08, animal.random.uniform(0.8, 0.93))
    for side in (-1, 1):
        lean = side * animal.random.uniform(-0.02, 0.03)
        animal.leg(side * 0.13 * breadth, -0.38, radius * 1.1, foot, lean)
    draw_head(animal, Head(animal.random.uniform(-0.03, 0.03), top, size, yaw), breadth)


def draw_sideways(animal: Animal) -> None:
    """Draw an animal that stands, from the side, with its face to the front."""
    radius, foot = animal.leg_sizes()
    size, breadth = animal.head_size(), animal.breadth
    reach = animal.random.uniform(0.27, 0.36)
    hips, chest = (-reach, -0.38, 0.15 * breadth), (reach * 0.75, -0.42, 0.16 * breadth)
    body = Tube.through(hips, (0, -0.39, 0.145 * breadth), chest)
    animal.tail(-reach - 0.09, -0.44, -1)
    behind = lighten(animal.coat, -0.22)
    animal.leg(-reach + 0.13, -0.3, radius, foot, 0.03, False, behind)
    animal.leg(reach - 0.08, -0.32, radius, foot, 0.03, True, behind)
    animal.skin(body)
    draw_sweater(animal, body, animal.random.uniform(0.2, 0.4), 0.93)
    animal.leg(-reach, -0.3, radius * 1.15, foot, -0.02, False)
    animal.leg(
        reach * 0.72, -0.34, radius * 1.1, foot, animal.random.uniform(-0.03, 0.03)
    )
    x, y = reach + animal.random.uniform(-0.02, 0.1), -animal.random.uniform(0.58, 0.7)
    neck = Tube.through((reach * 0.75, -0.45, 0.12), (x, y, size * 0.6))
    animal.skin(neck)
    if animal.garment == "sweater":
        animal.knit(neck.part(0.1, 0.55, 1.15))
    draw_head(animal, Head(x, y, size, animal.random.uniform(0, 0.45)), breadth * 0.9)


def draw_head(animal: Animal, head: Head, breadth: float) -> None:
    """Draw the head with the collar, the scarf or the hat."""
    if animal.painter.style.shadow:
        under = Tube.ellipse(head.x, head.y + head.size, head.size * 0.7, 0.06)
        animal.painter.shadow(under, 0.25, 0.03)
    width = max(0.12 * breadth, head.size * 0.7)
    draw_collar(animal, head.x * 0.8, head.y + head.size * 0.98, width)
    if animal.species == "elephant":  # The trunk hangs in front of the scarf.
        draw_scarf(animal, head.x * 0.7, head.y + head.size * 1.0, width)
    HEADS[animal.species](animal, head)
    if animal.species != "elephant":
        draw_scarf(animal, head.x * 0.8, head.y + head.size * 1.02, width)
    brow = {"french bulldog": 0.62, "elephant": 0.75}.get(animal.species, 0.72)
    wide = {"french bulldog": 0.5, "rabbit": 0.5, "cat": 0.48}.get(animal.species, 0.55)
    lean = animal.random.uniform(-0.25, 0.25)
    draw_hat(animal, head.x, head.y - brow * head.size, wide * head.size, lean)


WALKING_POSES = [draw_sitting, draw_standing, draw_sideways]
POSES = {"penguin": [draw_penguin], "duck": [draw_duck]}
