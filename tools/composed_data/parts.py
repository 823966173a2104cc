"""What scenes are composed of: emoji with their word, their kind and the colour that most of them is in."""

import colorsys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pair_data.emoji import Emoji

SIDE = 14  # pixels
OF_A_KIND = 6  # parts, at most

# Kind -> the subgroups of Unicode's list that it is drawn from.
KINDS = {
    "animal": ("animal-mammal", "animal-bird", "animal-amphibian", "animal-reptile", "animal-marine", "animal-bug"),
    "food": ("food-fruit", "food-vegetable", "food-prepared"),
    "vehicle": ("transport-ground", "transport-water", "transport-air"),
    "garment": ("clothing",),
    "instrument": ("musical-instrument", "music"),
    "tool": ("tool", "writing", "household"),
}
COLOURS = ("red", "yellow", "green", "blue", "brown", "gray")

_CLEAR = 0.5  # of a part's pixels, which its colour must have at least


@dataclass(frozen=True)
class Part:
    word: str
    kind: str
    colour: str
    drawing: np.ndarray  # uint8 [3, SIDE, SIDE], on white


def read_subgroups(unicode_data: Path) -> dict[str, str]:
    """Characters -> subgroup."""
    subgroups: dict[str, str] = {}
    subgroup = ""
    path = unicode_data / "usr/share/unicode/emoji/emoji-test.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# subgroup:"):
            subgroup = line.split(":", 1)[1].strip()
        elif "; fully-qualified" in line:
            points = line.split(";")[0].split()
            subgroups["".join(chr(int(point, 16)) for point in points)] = subgroup
    return subgroups


def parts_of(emoji: Iterable[Emoji], subgroups: dict[str, str]) -> list[Part]:
    """Those whose English name is one word and whose colour is clear, of each kind the first OF_A_KIND by their words."""
    kind_of = {subgroup: kind for kind, names in KINDS.items() for subgroup in names}
    found: dict[str, list[Part]] = {kind: [] for kind in KINDS}
    for each in sorted(emoji, key=lambda each: each.names["en"]):
        kind = kind_of.get(subgroups.get(each.characters, ""))
        word = each.names["en"].lower()
        if kind is None or not word.isascii() or not word.isalpha():
            continue
        drawing = _reduced(each.drawings["noto"])
        colour, share = colour_of(drawing)
        if colour in COLOURS and share >= _CLEAR:
            found[kind].append(Part(word, kind, colour, drawing))
    return [part for parts in found.values() for part in _mixed(parts)]


def _mixed(parts: list[Part]) -> list[Part]:
    """One of each colour in turn, so that neither a colour nor a letter is most of a kind."""
    queues = [[part for part in parts if part.colour == colour] for colour in COLOURS]
    chosen: list[Part] = []
    while len(chosen) < OF_A_KIND and any(queues):
        for queue in queues:
            if queue and len(chosen) < OF_A_KIND:
                chosen.append(queue.pop(0))
    return chosen


def colour_of(drawing: np.ndarray) -> tuple[str, float]:
    """The colour that most of the drawn pixels have, and their share."""
    drawn = [pixel for pixel in drawing.reshape(3, -1).T.tolist() if min(pixel) < 235]
    if not drawn:
        return "white", 1.0
    (colour, count), *_ = Counter(map(_name, drawn)).most_common()
    return colour, count / len(drawn)


def _name(pixel: list[int]) -> str:
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in pixel))
    degrees = hue * 360
    if saturation < 0.22 or value < 0.2:
        return "gray"
    if 5 <= degrees < 45 and value < 0.72:
        return "brown"
    for end, name in ((18, "red"), (65, "yellow"), (170, "green"), (265, "blue"), (325, "purple")):
        if degrees < end:
            return name
    return "red"


def _reduced(drawing: np.ndarray) -> np.ndarray:
    image = Image.fromarray(drawing.transpose(1, 2, 0)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
