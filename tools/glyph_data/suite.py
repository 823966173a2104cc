"""The suite glyphs16: a grid of four groups of letters and four styles of drawing, each cell a task of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedded_data.fonts import FaceInfo, by_family, find_faces, open_face
from packs.sources import manifest_sha256
from packs.stable import stable_hash
from packs.task_pack import SPLITS, Judge, Split, Task, TaskPack

from .styles import STYLES, draw_letter

SUITE = "glyphs16"
MANIFEST = Path(__file__).with_name("sources.txt")
ROWS = ("aeg", "hkm", "npr", "sxz")
LETTERS = tuple("".join(ROWS).upper())
CAPS = {"train": 200, "val": 20, "test": 50}  # of a letter in a style
_FACES_OF_A_FAMILY = 2
_SHARES = {"test": 20, "val": 12}  # percent of the kins


@dataclass(frozen=True)
class Drawing:
    kin: str
    letter: str
    pictures: dict[str, np.ndarray]  # by style


def split_of(kin: str) -> str:
    place = stable_hash(f"glyphs:{kin}") % 100
    return "test" if place < _SHARES["test"] else "val" if place < sum(_SHARES.values()) else "train"


def find_letters(packages: dict[str, Path]) -> list[Drawing]:
    """In mixed order. Faces that draw lower case as capitals are no worse here, where all letters are capitals."""
    faces = [face for face in find_faces(packages) if face.is_display or face.is_latin_text]
    drawings = [drawing for family in by_family(faces) for face in family[:_FACES_OF_A_FAMILY] for drawing in _draw(face)]
    return sorted(drawings, key=lambda drawing: stable_hash(f"{drawing.kin}/{drawing.letter}/{_digest(drawing)}"))


def _draw(face: FaceInfo) -> Iterator[Drawing]:
    for letter in LETTERS:
        pictures = draw_letter(open_face(face.path), letter)
        if pictures is not None:
            yield Drawing(face.kin, letter, pictures)


def _digest(drawing: Drawing) -> str:
    return str(stable_hash(drawing.pictures["solid"].tobytes().hex()))


def make_glyphs_pack(drawings: list[Drawing], judge: Judge | None, caps: dict[str, int] = CAPS) -> TaskPack:
    """Without a judge it is what a judge is trained on, and no pack that can be written."""
    chosen = {split: _chosen(drawings, split, caps[split]) for split in SPLITS}
    tasks = tuple(_cell(style, row, chosen) for style in STYLES for row in ROWS)
    return TaskPack(SUITE, manifest_sha256(MANIFEST), tasks, judge=judge)


def _chosen(drawings: list[Drawing], split: str, cap: int) -> list[Drawing]:
    """At most so many of each letter, no picture twice."""
    counts = dict.fromkeys(LETTERS, 0)
    seen: set[bytes] = set()
    kept = []
    for drawing in drawings:
        key = drawing.pictures["solid"].tobytes()
        if split_of(drawing.kin) == split and counts[drawing.letter] < cap and key not in seen:
            counts[drawing.letter] += 1
            seen.add(key)
            kept.append(drawing)
    return kept


def _cell(style: str, row: str, chosen: dict[str, list[Drawing]]) -> Task:
    splits = {}
    for split in SPLITS:
        drawings = [drawing for drawing in chosen[split] if drawing.letter.lower() in row]
        images = np.stack([drawing.pictures[style] for drawing in drawings])[:, None]
        labels = np.array([LETTERS.index(drawing.letter) for drawing in drawings], np.uint16)
        styles = np.full(len(drawings), STYLES.index(style), np.uint16)
        groups = np.array([stable_hash(drawing.kin) for drawing in drawings], np.uint32)
        splits[split] = Split({"images": images, "labels": labels, "styles": styles}, groups)
    return Task(
        name=f"{style}_{row}",
        kind="sample",
        title=f"Letters {', '.join(row.upper())}, {style}",
        licence="OFL-1.1 and others of the fonts, see sources.txt",
        source="glyphs of Debian's fonts",
        group_meaning="designs of one family of fonts",
        split_rule="by design, hashed",
        attributes={
            "classes": list(LETTERS),
            "styles": list(STYLES),
            "metric": "agreement",
            "task": row,
            "domain": style,
        },
        splits=splits,
    )
