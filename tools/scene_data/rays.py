"""Where the rays of a pin-hole camera meet planes, spheres, boxes, cylinders and cones.

Arrays of vectors are [3, side, side]: x to the right, y up, z away from the camera. Only +, -, *, / and square roots of
numpy's elementwise functions are used, which are exact to the last bit on every machine: no sums of BLAS, and sine and
cosine by their series. So the same scene is the same bytes everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

FOCAL = 0.9  # in units of the image's side
NEAREST = 1e-3  # metres along a ray: what is nearer is behind the camera
NOWHERE = 1e9  # metres along a ray that meets nothing


def sine_and_cosine(angle: float) -> tuple[float, float]:
    """By Taylor's series, for angles up to pi."""
    sine, cosine, term = 0.0, 0.0, 1.0
    for n in range(40):
        if n % 2 == 0:
            cosine += term if n % 4 == 0 else -term
        else:
            sine += term if n % 4 == 1 else -term
        term *= angle / (n + 1)
    return sine, cosine


def dot(a, b) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def unit(vectors) -> np.ndarray:
    return np.stack(vectors) / np.sqrt(dot(vectors, vectors))


def divided(a, b) -> np.ndarray:
    """NOWHERE where b is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = a / b
    return np.where(np.isfinite(quotient), quotient, NOWHERE)


@dataclass(frozen=True)
class Camera:
    height: float  # metres above the floor; at x = z = 0
    sine: float  # of the angle by which it looks down
    cosine: float

    @property
    def place(self) -> tuple[float, float, float]:
        return (0.0, self.height, 0.0)

    def rays(self, side: int) -> np.ndarray:
        """Directions of unit length through the centres of pixels."""
        rows, columns = np.mgrid[0:side, 0:side]
        x = (columns + 0.5 - side / 2) / (FOCAL * side)
        y = -(rows + 0.5 - side / 2) / (FOCAL * side)
        x, y, z = unit((x, y, np.ones_like(x)))
        return np.stack((x, self.cosine * y - self.sine * z, self.sine * y + self.cosine * z))

    def seen(self, vectors: np.ndarray) -> np.ndarray:
        """The same vectors in the camera's own frame."""
        x, y, z = vectors
        return np.stack((x, self.cosine * y + self.sine * z, self.cosine * z - self.sine * y))


@dataclass(frozen=True)
class Hit:
    distance: np.ndarray  # along each ray
    met: np.ndarray  # whether the ray meets the surface there
    normals: np.ndarray  # [3, side, side]


def plane(camera: Camera, rays: np.ndarray, axis: int, at: float, towards: float) -> Iterator[Hit]:
    """The plane where a coordinate has a value; its normal points to the side of the sign `towards`."""
    normals = np.zeros_like(rays)
    normals[axis] = towards
    yield Hit(divided(at - camera.place[axis], rays[axis]), np.ones(rays.shape[1:], bool), normals)


def sphere(camera: Camera, rays: np.ndarray, centre, radius: float) -> Iterator[Hit]:
    offset = [p - c for p, c in zip(camera.place, centre)]
    b = dot(rays, offset)
    inside = b * b - (dot(offset, offset) - radius * radius)
    distance = -b - np.sqrt(np.maximum(inside, 0))
    normals = np.stack([(o + distance * r) / radius for o, r in zip(offset, rays)])
    yield Hit(distance, inside > 0, normals)


def box(camera: Camera, rays: np.ndarray, centre, halves, angle: float) -> Iterator[Hit]:
    """Turned around the vertical by an angle; halves: of its sides."""
    sine, cosine = sine_and_cosine(angle)

    def turned(v, s):
        return (cosine * v[0] + s * v[2], v[1], cosine * v[2] - s * v[0])

    offset = turned([p - c for p, c in zip(camera.place, centre)], sine)
    own = turned(rays, sine)
    slabs = [(divided(-h - o, r), divided(h - o, r)) for h, o, r in zip(halves, offset, own)]
    enters = np.stack([np.minimum(a, b) for a, b in slabs])
    leaves = np.stack([np.maximum(a, b) for a, b in slabs])
    distance = enters.max(0)
    first = enters.argmax(0)
    normals = [np.where(first == axis, -np.sign(own[axis]), 0.0) for axis in range(3)]
    yield Hit(distance, distance < leaves.min(0), np.stack(turned(normals, -sine)))


def round_body(camera: Camera, rays: np.ndarray, x: float, z: float, radius: float, height: float, cone: bool):
    """A cylinder, or a cone that ends in a point, which stands on the floor."""
    slope = radius / height if cone else 0.0
    ox, oy, oz = camera.place[0] - x, camera.place[1], camera.place[2] - z
    at_height = radius - slope * oy
    a = rays[0] * rays[0] + rays[2] * rays[2] - slope * slope * rays[1] * rays[1]
    b = ox * rays[0] + oz * rays[2] + slope * at_height * rays[1]
    c = ox * ox + oz * oz - at_height * at_height
    inside = b * b - a * c
    root = np.sqrt(np.maximum(inside, 0))
    ends = divided(-b - root, a), divided(-b + root, a)
    for distance in (np.minimum(*ends), np.maximum(*ends)):
        y = oy + distance * rays[1]
        side = (ox + distance * rays[0], slope * (radius - slope * y), oz + distance * rays[2])
        length = np.sqrt(dot(side, side) + 1e-12)
        yield Hit(distance, (inside > 0) & (y > 0) & (y < height), np.stack([each / length for each in side]))
    if not cone:
        distance = divided(height - oy, rays[1])
        px, pz = ox + distance * rays[0], oz + distance * rays[2]
        lid = np.zeros_like(rays)
        lid[1] = 1
        yield Hit(distance, px * px + pz * pz < radius * radius, lid)
