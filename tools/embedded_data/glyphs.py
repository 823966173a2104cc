"""Renders one character of a font as a small mask: bright figure (255) on black (0)."""

import math
from dataclasses import dataclass

import freetype
import numpy as np
from PIL import Image

_LOAD_FLAGS = freetype.FT_LOAD_RENDER | freetype.FT_LOAD_NO_HINTING | freetype.FT_LOAD_NO_BITMAP
_PIXEL_SIZE = 48  # rendered larger than needed, then reduced by an area filter
_INK = 32  # fainter pixels at the border are cropped away

Matrix = tuple[float, float, float, float]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Jitter:
    """Ranges of the random distortion: all uniform, symmetric about no change."""

    degrees: float
    shear: float
    log_aspect: float
    fit: tuple[int, int]  # longest side of the figure in pixels, both ends included
    shift_x: int
    shift_y: int


@dataclass(frozen=True)
class Placement:
    """One drawn distortion: where and how large the figure stands on its canvas."""

    canvas: int
    fit: int
    matrix: Matrix = IDENTITY
    dx: int = 0
    dy: int = 0


def draw_placement(rng: np.random.Generator, jitter: Jitter, canvas: int) -> Placement:
    return Placement(
        canvas=canvas,
        matrix=_draw_matrix(rng, jitter),
        fit=int(rng.integers(jitter.fit[0], jitter.fit[1] + 1)),
        dx=int(rng.integers(-jitter.shift_x, jitter.shift_x + 1)),
        dy=int(rng.integers(-jitter.shift_y, jitter.shift_y + 1)),
    )


def _draw_matrix(rng: np.random.Generator, jitter: Jitter) -> Matrix:
    """Rotation times [[a, k], [0, 1/a]]; math, because numpy's sine differs by machine."""
    angle = math.radians(rng.uniform(-jitter.degrees, jitter.degrees))
    shear = rng.uniform(-jitter.shear, jitter.shear)
    aspect = math.exp(rng.uniform(-jitter.log_aspect, jitter.log_aspect))
    cosine, sine = math.cos(angle), math.sin(angle)
    return (
        cosine * aspect,
        cosine * shear - sine / aspect,
        sine * aspect,
        sine * shear + cosine / aspect,
    )


def render_glyph(face: freetype.Face, code_point: int, placement: Placement) -> np.ndarray | None:
    """uint8 [canvas, canvas], or None where the face has no visible figure for the character."""
    ink = _rasterize(face, code_point, placement.matrix)
    if ink is None:
        return None
    scale = placement.fit / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    figure = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BOX))
    canvas = np.zeros((placement.canvas, placement.canvas), np.uint8)
    top = _clamped_start(placement.canvas, height, placement.dy)
    left = _clamped_start(placement.canvas, width, placement.dx)
    canvas[top : top + height, left : left + width] = figure
    return canvas


def _clamped_start(canvas: int, length: int, shift: int) -> int:
    return min(max((canvas - length) // 2 + shift, 0), canvas - length)


def _rasterize(face: freetype.Face, code_point: int, matrix: Matrix) -> np.ndarray | None:
    """The figure at 48 pixels per em, cropped to its ink; None when it is missing or empty."""
    index = face.get_char_index(code_point)
    if index == 0:
        return None
    face.set_pixel_sizes(0, _PIXEL_SIZE)
    fixed = freetype.Matrix(*(round(value * 65536) for value in matrix))
    face.set_transform(fixed, freetype.Vector(0, 0))
    try:
        face.load_glyph(index, _LOAD_FLAGS)
    except freetype.FT_Exception:
        return None  # a few old faces hold outlines that FreeType rejects
    bitmap = face.glyph.bitmap
    if bitmap.width < 2 or bitmap.rows < 2:
        return None
    pixels = np.array(bitmap.buffer, np.uint8).reshape(bitmap.rows, bitmap.pitch)[:, : bitmap.width]
    rows = np.flatnonzero(pixels.max(axis=1) > _INK)
    columns = np.flatnonzero(pixels.max(axis=0) > _INK)
    if len(rows) < 2 or len(columns) < 2:
        return None
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
