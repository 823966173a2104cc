"""Emoji: which there are, their names in several languages, and how two vendors draw them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from packs.sources import SourceError

LANGUAGES = ("en", "de", "fr", "es", "cs")
STYLES = ("noto", "one")
SIDE = 32  # pixels

_VARIATION = "\ufe0f"  # asks for the coloured form of a character; files disagree about writing it
_JOINER = "\u200d"
_TONES = frozenset(chr(point) for point in range(0x1F3FB, 0x1F400))
_PEOPLE = {"\U0001f9d1": "person", "\U0001f468": "man", "\U0001f469": "woman"}
_SIGNS = {"\u2642": "man", "\u2640": "woman"}
_INHERITED = "\u2191\u2191\u2191"  # "as in the parent locale"
_WIDEST = 150  # of one picture of the font; two are side by side where a sequence has none of its own


@dataclass(frozen=True)
class Emoji:
    characters: str  # fully qualified
    names: dict[str, str]  # by language
    drawings: dict[str, np.ndarray]  # by style: uint8 [3, SIDE, SIDE]

    @property
    def key(self) -> str:
        """The same in all files."""
        return plain(self.characters)


def plain(characters: str) -> str:
    return characters.replace(_VARIATION, "")


@dataclass(frozen=True)
class Role:
    """What people do or are: the same picture for three genders and all tones of skin."""

    key: str
    forms: dict[str, str]  # person, man, woman -> the key of the emoji without a tone
    members: tuple[str, ...]  # keys of all of them, those with a tone too


def roles_of(keys: Iterable[str]) -> list[Role]:
    """Those with all three genders, in the order of their keys."""
    forms: dict[str, dict[str, str]] = defaultdict(dict)
    members: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        toneless = "".join(character for character in key if character not in _TONES)
        role, form = _role_of(toneless)
        members[role].append(key)
        if key == toneless:
            forms[role][form] = key
    whole = sorted(role for role, found in forms.items() if set(found) == {"person", "man", "woman"})
    return [Role(role, forms[role], tuple(sorted(members[role]))) for role in whole]


def _role_of(toneless: str) -> tuple[str, str]:
    first, *others = toneless.split(_JOINER)
    if first in _PEOPLE and others:
        return _JOINER.join(others), _PEOPLE[first]
    if len(others) == 1 and others[0] in _SIGNS:
        return first, _SIGNS[others[0]]
    return toneless, "person"


def read_emoji(packages: dict[str, Path]) -> list[Emoji]:
    """All that have a name in each language and a drawing of the first style, in the order of their keys."""
    if not (features.check("raqm") and features.check("fribidi")):
        raise SourceError("emoji of several characters are laid out by raqm, which needs the library fribidi; install it")
    names = {language: _read_names(packages["unicode-cldr-core"], language) for language in LANGUAGES}
    draw_noto, draw_one = _noto(packages["fonts-noto-color-emoji"]), _one(packages["ruby-gemojione"])
    emoji = []
    for characters in _read_characters(packages["unicode-data"]):
        of_languages = {language: found.get(plain(characters)) for language, found in names.items()}
        drawings = {"noto": draw_noto(characters), "one": draw_one(characters)}
        drawn = {style: drawing for style, drawing in drawings.items() if drawing is not None}
        if "noto" in drawn and all(of_languages.values()):
            emoji.append(Emoji(characters, of_languages, drawn))
    return sorted(emoji, key=lambda each: each.key)


def _read_characters(unicode_data: Path) -> list[str]:
    path = unicode_data / "usr/share/unicode/emoji/emoji-test.txt"
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if "; fully-qualified" in line)
    return ["".join(chr(int(point, 16)) for point in line.split(";")[0].split()) for line in lines]


def _read_names(cldr: Path, language: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for folder in ("annotations", "annotationsDerived"):
        root = ElementTree.parse(cldr / "usr/share/unicode/cldr/common" / folder / f"{language}.xml").getroot()
        for element in root.findall("annotations/annotation"):
            if element.attrib.get("type") == "tts" and element.text and _INHERITED not in element.text:
                names.setdefault(plain(element.attrib["cp"]), element.text.strip())
    return names


def _noto(package: Path):
    font = ImageFont.truetype(
        package / "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
        size=109,  # the only size that the font's bitmaps have
        layout_engine=ImageFont.Layout.RAQM,
    )

    def draw(characters: str) -> np.ndarray | None:
        if font.getlength(characters) > _WIDEST:
            return None
        image = Image.new("RGBA", (160, 160))
        ImageDraw.Draw(image).text((10, 10), characters, font=font, embedded_color=True)
        return _fitted(image)

    return draw


def _one(package: Path):
    folder = package / "usr/share/rubygems-integration/all/gems/gemojione-3.3.0/assets/png"

    def draw(characters: str) -> np.ndarray | None:
        for spelled in (characters, plain(characters)):
            path = folder / ("-".join(f"{ord(character):04X}" for character in spelled) + ".png")
            if path.is_file():
                return _fitted(Image.open(path).convert("RGBA"))
        return None

    return draw


def _fitted(drawing: Image.Image) -> np.ndarray | None:
    """What is drawn, in the middle of a white square."""
    box = drawing.getchannel("A").getbbox()
    if box is None:
        return None
    figure = drawing.crop(box)
    side = max(figure.size)
    square = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    square.alpha_composite(figure, ((side - figure.width) // 2, (side - figure.height) // 2))
    small = square.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
