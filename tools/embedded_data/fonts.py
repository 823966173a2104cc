"""Finds font faces and splits them by kin: all families that share one design.

The split unit is the kin, not the face and not the family name, because variants of one design
(weights, widths, outline or shadow versions, renamed forks) must not stand on two sides. The key
comes from two audited rules: the first word of the family name that is neither a style nor a
foundry, and a table of designs that are known under several names.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import freetype
import numpy as np

from .glyphs import Placement, render_glyph
from packs.stable import stable_hash

LATIN_SAMPLE = "AZaz09"
# Without the five final forms.
HEBREW = [c for c in range(0x5D0, 0x5EB) if c not in (0x5DA, 0x5DD, 0x5DF, 0x5E3, 0x5E5)]
CYRILLIC = list(range(0x430, 0x450))

_DISPLAY_PACKAGE = "fonts-aenigma"
_OTHER_PACKAGES = ("culmus", "fonts-noto-core")  # their Latin is borrowed or secondary

# Words before the word that names the design.
_SKIPPED_WORDS = {"gfs", "mini", "ae", "?"}

# One design under several names; Noto Sans grew out of Open Sans.
_SAME_DESIGN = {
    "freemono": "freefont",
    "freesans": "freefont",
    "freeserif": "freefont",
    "gentiumalt": "gentium",
    "open": "noto",
}

# The wide-coverage kins draw the pretraining symbols, so they are always on the train side.
PINNED_TRAIN = ("dejavu", "freefont", "noto")

# FreeFont's Hebrew is Culmus' Hebrew (measured: FreeSans against Nachlieli correlates at 0.93).
_BORROWED_HEBREW = "freefont"

# Display kins that a comparison of rendered letters and digits found close to another display kin.
_LOOKALIKES = frozenset(
    (
        "ataxia", "bandwidth", "chumbly", "false", "galapogos",
        "genotype", "jupiter", "yielding", "your",
    )
)  # fmt: skip

# Families that cover the letters but draw key caps or picture initials instead.
_PICTURE_FAMILIES = ("Linux Biolinum Keyboard O", "Linux Libertine Initials O")

# Display kins that draw snowflakes or ornaments in place of letters (found by looking at them).
_ORNAMENTS = frozenset(("faux", "head-ding", "janken", "line", "skull"))

ROLES = ("train", "val", "test", "fontid")
FONTID_COUNT = 12


@dataclass(frozen=True)
class FaceInfo:
    path: str
    package: str
    family: str
    kin: str
    scripts: frozenset[str]  # of "latin", "hebrew", "cyrillic"

    @property
    def is_display(self) -> bool:
        shows_letters = "latin" in self.scripts and self.kin not in _ORNAMENTS
        return shows_letters and self.package == _DISPLAY_PACKAGE

    @property
    def is_latin_text(self) -> bool:
        others = (_DISPLAY_PACKAGE, *_OTHER_PACKAGES)
        return "latin" in self.scripts and self.package not in others

    @property
    def is_hebrew(self) -> bool:
        return "hebrew" in self.scripts and self.kin != _BORROWED_HEBREW

    @property
    def is_cyrillic(self) -> bool:
        return "cyrillic" in self.scripts


@lru_cache(maxsize=1200)
def open_face(path: str) -> freetype.Face:
    return freetype.Face(path)


def kin_of(family: str) -> str:
    """The split key of a family name: 'Linux Biolinum O' -> 'linux', 'FreeSans' -> 'freefont'."""
    words = [w for w in re.split(r"[\s_]+", family.lower()) if w not in _SKIPPED_WORDS]
    return _SAME_DESIGN.get(words[0], words[0])


def find_faces(packages: dict[str, Path]) -> list[FaceInfo]:
    """Every outline face of the font packages, in the same order on every file system."""
    faces = []
    for package, folder in sorted(packages.items()):
        if not (package.startswith("fonts-") or package == "culmus") or "emoji" in package:
            continue
        files = (p for p in folder.rglob("*") if p.suffix.lower() in (".ttf", ".otf"))
        for path in sorted(p for p in files if p.is_file() and not p.is_symlink()):
            face = _inspect(path, package)
            if face.family not in _PICTURE_FAMILIES:
                faces.append(face)
    return faces


def _inspect(path: Path, package: str) -> FaceInfo:
    face = open_face(str(path))
    family = (face.family_name or b"").decode("latin-1") or path.stem
    wanted = {"latin": map(ord, LATIN_SAMPLE), "hebrew": HEBREW, "cyrillic": CYRILLIC}
    scripts = frozenset(name for name, points in wanted.items() if _covers(face, points))
    return FaceInfo(str(path), package, family, kin_of(family), scripts)


def _covers(face: freetype.Face, code_points: Iterable[int]) -> bool:
    return all(face.get_char_index(c) for c in code_points)


def by_family(faces: Iterable[FaceInfo]) -> list[list[FaceInfo]]:
    """Faces grouped by family name, so that a family with many weights is not drawn more often."""
    families: dict[str, list[FaceInfo]] = {}
    for face in faces:
        families.setdefault(face.family, []).append(face)
    return [families[name] for name in sorted(families)]


def assign_roles(faces: list[FaceInfo]) -> dict[str, str]:
    """Kin -> role, one table for all tasks and the pretraining pool.

    Text kins are ranked by hash inside three strata (Hebrew, else Cyrillic, else Latin), so that
    every glyph task gets about a third of its free kins for test and a sixth for val. Twelve
    display kins with a single family are kept for fontid12; all other display kins train.
    """
    roles = {face.kin: "train" for face in faces}
    strata: dict[str, set[str]] = {"hebrew": set(), "cyrillic": set(), "latin": set()}
    placed = set(PINNED_TRAIN)
    for name, members in strata.items():
        eligible = {f.kin for f in faces if _in_stratum(f, name)}
        members |= eligible - placed
        placed |= members
        ranked = sorted(members, key=lambda kin: stable_hash(f"kin:{kin}"))
        test_end = round(len(ranked) / 3)
        val_end = test_end + round(len(ranked) / 6)
        roles.update(dict.fromkeys(ranked[:test_end], "test"))
        roles.update(dict.fromkeys(ranked[test_end:val_end], "val"))
    roles.update(dict.fromkeys(_fontid_kins(faces), "fontid"))
    return roles


def _in_stratum(face: FaceInfo, stratum: str) -> bool:
    wanted = {"hebrew": face.is_hebrew, "cyrillic": face.is_cyrillic, "latin": face.is_latin_text}
    return wanted[stratum]


def _fontid_kins(faces: list[FaceInfo]) -> list[str]:
    families: dict[str, set[str]] = {}
    for face in faces:
        if face.is_display and not is_unicase(face):
            families.setdefault(face.kin, set()).add(face.family)
    # All faces count here, also unicase ones: a kin with any variant is not a single design.
    names: dict[str, set[str]] = {}
    for face in faces:
        names.setdefault(face.kin, set()).add(face.family)
    # A key with other characters than letters stands for a garbled or numbered name.
    single = [k for k in families if len(names[k]) == 1 and k.isalpha() and k not in _LOOKALIKES]
    return sorted(single, key=lambda kin: stable_hash(f"fontid:{kin}"))[:FONTID_COUNT]


@cache
def is_unicase(face: FaceInfo) -> bool:
    """True where lower-case letters are drawn as capitals, which would teach capital shapes."""
    letters = "abdeghnqr"  # their two cases differ in every ordinary face
    same = sum(_same_figure(face.path, letter, letter.upper()) for letter in letters)
    return same >= len(letters) // 2


def _same_figure(path: str, first: str, second: str) -> bool:
    placement = Placement(canvas=24, fit=20)
    masks = [render_glyph(open_face(path), ord(c), placement) for c in (first, second)]
    if masks[0] is None or masks[1] is None:
        return masks[0] is masks[1]
    difference = np.abs(masks[0].astype(int) - masks[1].astype(int)).sum()
    return bool(difference * 5 < masks[0].sum(dtype=int) + masks[1].sum(dtype=int))
