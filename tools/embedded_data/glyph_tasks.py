"""Tasks made of rendered characters: letters of three scripts, digits on maps, fonts."""

import numpy as np
from PIL import Image

from .fonts import CYRILLIC, HEBREW, FaceInfo, by_family, open_face
from .glyphs import Jitter, Placement, draw_placement, render_glyph
from .maps import BlockedMap
from .splits import IMAGE_SIZE, Draw, Example, Split, SplitMaker
from packs.stable import stable_hash
from .task import COUNTS, DIGITS, MAKING_ORDER, Inputs, Task

_GLYPH_JITTER = Jitter(degrees=12, shear=0.15, log_aspect=0.15, fit=(18, 24), shift_x=2, shift_y=2)
_STREET_JITTER = Jitter(degrees=15, shear=0.2, log_aspect=0.2, fit=(16, 22), shift_x=3, shift_y=2)
_BACKGROUND_GRAIN = 7  # low bits that are dropped from a background
_FONT_JITTER = Jitter(degrees=5, shear=0.05, log_aspect=0.05, fit=(19, 24), shift_x=1, shift_y=1)

_GLYPH_LICENCE = "rendered glyph images of freely licensed fonts, see data/NOTICE"
_KIN_MEANING = "kin of font families: all families and faces that share one design"
_KIN_RULE = (
    "kins are ranked by hash inside three script strata: a third test, a sixth val, the rest "
    "train; one table for all glyph tasks and for pretraining"
)


def _families(inputs: Inputs, role: str, wanted: str) -> list[list[FaceInfo]]:
    """Families of one role; `wanted` names the property of a face that the task needs."""
    return by_family(f for f in inputs.faces if inputs.roles[f.kin] == role and getattr(f, wanted))


def _draw_face(rng: np.random.Generator, families: list[list[FaceInfo]]) -> FaceInfo:
    family = families[rng.integers(len(families))]
    return family[rng.integers(len(family))]


def _make_letters(
    inputs: Inputs, name: str, wanted: str, code_points: list[int]
) -> dict[str, Split]:
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

    return {s: maker.draw(s, COUNTS[s], drawer(s)) for s in MAKING_ORDER}


def make_upper26(inputs: Inputs) -> Task:
    letters = [ord("A") + i for i in range(26)]
    return _letter_task(
        "upper26", "Latin capital letters", "Latin text fonts of Debian", letters,
        _make_letters(inputs, "upper26", "is_latin_text", letters),
    )  # fmt: skip


def make_hebrew22(inputs: Inputs) -> Task:
    return _letter_task(
        "hebrew22", "Hebrew letters without final forms", "Hebrew fonts of Debian", HEBREW,
        _make_letters(inputs, "hebrew22", "is_hebrew", HEBREW),
    )  # fmt: skip


def make_cyrillic32(inputs: Inputs) -> Task:
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


def make_svdigits(inputs: Inputs) -> Task:
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
        class_names=DIGITS,
        splits={s: maker.draw(s, COUNTS[s], drawer(s)) for s in MAKING_ORDER},
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
    """A bright colour over the darkened background; integers only, for equal bytes everywhere."""
    colour = np.zeros(3, int)
    while colour @ np.array([30, 59, 11]) <= 16000:  # luma above 160
        colour = rng.integers(110, 256, 3)
    darkness = int(rng.integers(64, 154))  # 0.25 to 0.6, in 1/256
    dark = (background.astype(int) * darkness) >> 8
    dark &= ~_BACKGROUND_GRAIN  # map grain would be half of the whole file
    weight = alpha[..., None].astype(int)
    return ((dark * (255 - weight) + colour * weight + 127) // 255).astype(np.uint8)


# Characters that look alike in many faces, both cases included, stand on one side together.
_CHARACTER_GROUPS = (
    "Oo0",
    "Ii1Ll",
    *(letter + letter.lower() for letter in "ABCDEFGHJKMNPQRSTUVWXYZ"),
    *"23456789",
)
_FONTID_GROUPS = {"test": 7, "val": 5}  # character groups; the rest is train


def make_fontid12(inputs: Inputs) -> Task:
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
        licence="rendered glyph images of the Aenigma fonts (free with attribution), "
        "see data/NOTICE",
        source="12 families of fonts-aenigma that no other task and no pretraining shows",
        group_meaning="set of characters that look alike (both cases of a letter, O o 0, "
        "I i 1 L l)",
        split_rule="character sets in hash order: 7 test, 5 val, 21 train; all 12 fonts in "
        "every split",
        class_names=tuple(face.family for face in faces),
        splits={s: maker.draw(s, COUNTS[s], drawer(s)) for s in MAKING_ORDER},
    )
