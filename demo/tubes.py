"""Points to tubes: the curved shapes of varying width that all drawings consist of."""

import math

import numpy as np


def smooth(points: np.ndarray, count: int = 17) -> np.ndarray:
    """Return a Catmull-Rom curve (count, d) through points (n, d)."""
    ends = 2 * points[:1] - points[1:2], 2 * points[-1:] - points[-2:-1]
    padded = np.concatenate([ends[0], points, ends[1]])
    position = np.linspace(0, len(points) - 1, count)
    index = np.minimum(position.astype(int), len(points) - 2)
    t = (position - index)[:, None]
    a, b, c, d = (padded[index + shift] for shift in range(4))
    return b + t / 2 * (
        c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))
    )


class Tube:
    """A curve with a radius at each of its points.

    A place on the tube is (t, u): t is 0 at its start and 1 at its end, u is -1 on one
    side and 1 on the other.
    """

    def __init__(self, spine: np.ndarray, radius: np.ndarray) -> None:
        self.spine = spine  # (n, 2)
        self.radius = radius  # (n,)
        steps = np.gradient(spine, axis=0)
        length = np.hypot(steps[:, 0], steps[:, 1])[:, None] + 1e-9
        self.normal = np.stack([-steps[:, 1], steps[:, 0]], 1) / length
        self.t = np.linspace(0, 1, len(spine))

    @classmethod
    def through(cls, *points: tuple, round_start=True, round_end=True) -> "Tube":
        """Return a smooth tube through points (x, y, radius)."""
        curve = smooth(np.array(points, float))
        parts = [curve]
        if round_start:
            parts.insert(0, cls._cap(curve[0], curve[0] - curve[1])[::-1])
        if round_end:
            parts.append(cls._cap(curve[-1], curve[-1] - curve[-2]))
        rows = np.concatenate(parts)
        return cls(rows[:, :2], np.maximum(rows[:, 2], 0))

    @staticmethod
    def _cap(end: np.ndarray, direction: np.ndarray) -> np.ndarray:
        direction = direction[:2] / (np.hypot(*direction[:2]) + 1e-9)
        angle = np.linspace(0.35, math.pi / 2, 5)[:, None]
        centre = end[:2] + direction * end[2] * np.sin(angle)
        return np.concatenate([centre, end[2] * np.cos(angle)], 1)

    @classmethod
    def ellipse(cls, x, y, rx, ry=None, angle=0.0, power=2.0) -> "Tube":
        """Return an ellipse turned by `angle` (radians); high powers are squarer."""
        ry = rx if ry is None else ry
        along = -np.cos(np.linspace(0, math.pi, 21))
        along = np.sign(along) * np.abs(along) ** (2 / power)
        radius = rx * np.maximum(1 - np.abs(along) ** power, 0) ** (1 / power)
        centre = np.stack([-math.sin(angle) * along, math.cos(angle) * along], 1)
        return cls(np.array([x, y]) + ry * centre, radius)

    def at(self, t, u) -> np.ndarray:
        """Return the points (n, 2) at the places (t, u)."""
        t, u = np.broadcast_arrays(np.asarray(t, float), np.asarray(u, float))
        offset = u * np.interp(t, self.t, self.radius)
        parts = (
            np.interp(t, self.t, self.spine[:, axis])
            + offset * np.interp(t, self.t, self.normal[:, axis])
            for axis in (0, 1)
        )
        return np.stack(list(parts), -1)

    def part(self, start: float, stop: float, swell: float = 1.0) -> "Tube":
        """Return the tube from t = start to t = stop, its radius times `swell`."""
        t = np.linspace(start, stop, 15)
        return Tube(self.at(t, 0), np.interp(t, self.t, self.radius) * swell)

    def outline(self) -> np.ndarray:
        """Return the closed outline (2n, 2)."""
        return np.concatenate([self.at(self.t, -1), self.at(self.t, 1)[::-1]])
