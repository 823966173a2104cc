"""Draws one letter of a font in a style, in whole numbers, so that every machine makes the same pixels."""

import freetype
import numpy as np

from embedded_data.glyphs import Placement, render_glyph

SIDE = 16
_SCALE = 4  # drawn larger, and reduced to the mean of squares
_LONGEST = 54  # side of a letter, of 64
_STRIPE = 4
_INSIDE, _OUTSIDE = 3, 2  # width of an outline on both sides of the edge

STYLES = ("inverse", "outline", "solid", "striped")


def draw_letter(face: freetype.Face, letter: str) -> dict[str, np.ndarray] | None:
    """By style, uint8 [SIDE, SIDE]; None where the face has no such letter."""
    figure = render_glyph(face, ord(letter), Placement(canvas=_SCALE * SIDE, fit=_LONGEST))
    if figure is None:
        return None
    ink = figure.astype(np.int64)
    return {
        "inverse": _reduced(255 - ink),
        "outline": _reduced(_extreme(ink, _OUTSIDE, np.maximum) - _extreme(ink, _INSIDE, np.minimum)),
        "solid": _reduced(ink),
        "striped": _reduced(ink * (np.arange(len(ink)) // _STRIPE % 2 == 0)[:, None]),
    }


def _extreme(ink: np.ndarray, radius: int, choose: np.ufunc) -> np.ndarray:
    """The largest or smallest of the pixels within a disc."""
    found = ink
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dy * dy + dx * dx <= radius * radius:
                found = choose(found, np.roll(ink, (dy, dx), (0, 1)))
    return found


def _reduced(ink: np.ndarray) -> np.ndarray:
    squares = ink.reshape(SIDE, _SCALE, SIDE, _SCALE).sum((1, 3))
    return (squares // _SCALE**2).astype(np.uint8)
