"""A room with two to five bodies, its light and its colours, all drawn at random."""

from dataclasses import dataclass

import numpy as np

from . import rays as optics
from .rays import NEAREST, NOWHERE, Camera, dot, unit

CLASSES = ("floor", "wall", "ceiling", "sphere", "box", "cylinder", "cone")
FLOOR, WALL, CEILING, SPHERE, BOX, CYLINDER, CONE = range(len(CLASSES))
AMBIENT = 0.35  # share of the light that comes from everywhere
NOISE = 0.03  # standard deviation, of a channel in [0, 1]
STEPS_OF_DEPTH = 1024  # in a metre: what is stored is rounded, so that it packs well
STEPS_OF_NORMALS = 512


@dataclass(frozen=True)
class Scene:
    image: np.ndarray  # uint8 [3, side, side]
    classes: np.ndarray  # uint16 [side, side]
    depth: np.ndarray  # float32 [side, side], metres along the optical axis
    normals: np.ndarray  # float32 [3, side, side], in the camera's frame


@dataclass(frozen=True)
class Room:
    half_width: float
    depth: float
    height: float


class _Canvas:
    """What each ray has met so far: the nearest surface."""

    def __init__(self, camera: Camera, side: int) -> None:
        self.camera = camera
        self.rays = camera.rays(side)
        self.distance = np.full((side, side), NOWHERE)
        self.classes = np.zeros((side, side), np.uint16)
        self.normals = np.zeros_like(self.rays)
        self.colours = np.zeros_like(self.rays)

    def points(self, distance: np.ndarray) -> np.ndarray:
        return np.stack([p + distance * r for p, r in zip(self.camera.place, self.rays)])

    def add(self, hits, label: int, colour) -> None:
        """colour: a function of the points met."""
        for hit in hits:
            nearer = hit.met & (hit.distance > NEAREST) & (hit.distance < self.distance)
            self.distance[nearer] = hit.distance[nearer]
            self.classes[nearer] = label
            self.normals[:, nearer] = hit.normals[:, nearer]
            self.colours[:, nearer] = colour(self.points(hit.distance))[:, nearer]


def make_scene(rng: np.random.RandomState, side: int) -> Scene:
    def uniform(low: float, high: float) -> float:
        return low + (high - low) * rng.rand()

    def colour(low: float, high: float) -> np.ndarray:
        return low + (high - low) * rng.rand(3)

    sine, cosine = optics.sine_and_cosine(uniform(8, 22) * np.pi / 180)
    camera = Camera(uniform(1.2, 1.7), sine, cosine)
    canvas = _Canvas(camera, side)
    room = Room(uniform(1.6, 2.8), uniform(4.5, 6.5), uniform(2.6, 3.2))
    for axis, at, towards, label, chequered in (
        (1, 0.0, 1, FLOOR, 0.6),
        (2, room.depth, -1, WALL, 0.3),
        (0, -room.half_width, 1, WALL, 0.3),
        (0, room.half_width, -1, WALL, 0.3),
        (1, room.height, -1, CEILING, 0.0),
    ):
        fields = [each for each in range(3) if each != axis]
        texture = _chequers(fields, colour(0.25, 0.95), colour(0.25, 0.95), uniform(2, 6), rng.rand() < chequered)
        canvas.add(optics.plane(camera, canvas.rays, axis, at, towards), label, texture)
    for _ in range(rng.randint(2, 6)):
        _add_body(canvas, room, rng, uniform, colour(0.15, 1))
    light = (uniform(-0.8, 0.8) * room.half_width, room.height - 0.2, uniform(1, 3))
    return _developed(canvas, light, rng)


def _chequers(fields: list[int], one, other, tiles: float, chequered: bool):
    """Tiles to a metre of two colours at half strength, or one colour alone."""

    def texture(points: np.ndarray) -> np.ndarray:
        along, across = (np.floor(points[axis] * tiles) for axis in fields)
        odd = (along + across) % 2 * 0.5 if chequered else np.zeros_like(along)
        return np.stack([a * (1 - odd) + b * odd for a, b in zip(one, other)])

    return texture


def _add_body(canvas: _Canvas, room: Room, rng: np.random.RandomState, uniform, rgb) -> None:
    kind = (SPHERE, BOX, CYLINDER, CONE)[rng.randint(4)]
    radius = uniform(0.25, 0.55)
    x = uniform(-1, 1) * (room.half_width - radius)
    z = uniform(1.8, room.depth - 0.4 - radius)
    camera, rays = canvas.camera, canvas.rays
    if kind == SPHERE:
        hits = optics.sphere(camera, rays, (x, radius, z), radius)
    elif kind == BOX:
        height = uniform(0.3, 1.2)
        halves = (radius, height / 2, radius * uniform(0.5, 1))
        hits = optics.box(camera, rays, (x, height / 2, z), halves, uniform(0, np.pi))
    else:
        hits = optics.round_body(camera, rays, x, z, radius, uniform(0.4, 1.3), kind == CONE)
    canvas.add(hits, kind, lambda points: np.broadcast_to(rgb[:, None, None], points.shape))


def _developed(canvas: _Canvas, light, rng: np.random.RandomState) -> Scene:
    """No shadows: what a point light gives a surface depends on its angle alone."""
    points = canvas.points(canvas.distance)
    to_light = unit([at - p for at, p in zip(light, points)])
    brightness = AMBIENT + (1 - AMBIENT) * np.maximum(0, dot(to_light, canvas.normals))
    image = (canvas.colours * brightness + rng.randn(*canvas.colours.shape) * NOISE).clip(0, 1)
    depth = canvas.camera.seen(canvas.distance * canvas.rays)[2]
    normals = canvas.camera.seen(canvas.normals)
    return Scene(
        np.round(image * 255).astype(np.uint8),
        canvas.classes,
        (np.round(depth * STEPS_OF_DEPTH) / STEPS_OF_DEPTH).astype(np.float32),
        (np.round(normals * STEPS_OF_NORMALS) / STEPS_OF_NORMALS).astype(np.float32),
    )
