"""The pretraining pool: classes that no task has, groups that no val or test split has.

The trainer adds a few labelled shots of each task's train split itself; their share of the batches
is what the shares below leave over.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .fonts import PINNED_TRAIN, FaceInfo, by_family, is_unicase, open_face
from .glyphs import Jitter, draw_placement, render_glyph
from .maps import load_pool_maps
from .splits import channels_first
from packs.pretraining_pool import ImageSource
from packs.stable import random_stream, stable_hash
from .task import Inputs

_IMAGE_SIZE = 32
_JITTER = Jitter(degrees=12, shear=0.15, log_aspect=0.15, fit=(19, 26), shift_x=0, shift_y=0)

_LOWER_IMAGES = 160
_SYMBOL_CLASSES = 300
_SYMBOL_IMAGES = 20
_SYMBOL_FACES = 3  # fewer faces would make a class of one drawing
_EMOJI_CLASSES = 847
_CELL = 180  # pixels
_CELL_IMAGES = 16
_MIN_CELL_CONTRAST = 8.0  # standard deviation; darker cells of the city lights show nothing

# Ranges whose characters are, contain or imitate a character of a task.
_TASK_LIKE = (
    (0x0000, 0x0370),  # Latin, phonetic letters, modifier letters, combining marks
    (0x0370, 0x0590),  # Greek, Cyrillic, Armenian
    (0x0590, 0x0600),  # Hebrew
    (0x10A0, 0x1100),  # Georgian
    (0x13A0, 0x1400),  # Cherokee, drawn after Latin
    (0x1C80, 0x1CC0),  # Cyrillic and Georgian extensions
    (0x1D00, 0x2000),  # phonetic, Latin and Greek extensions
    (0x2070, 0x20A0),  # superscripts and subscripts
    (0x2100, 0x2190),  # letterlike symbols, fractions, Roman numerals
    (0x2336, 0x237B),  # APL symbols, among them Greek letters
    (0x2400, 0x2440),  # names of control characters in small capitals
    (0x2460, 0x2500),  # enclosed letters and digits
    (0x2776, 0x2794),  # digits in circles
    (0x2C60, 0x2E00),  # Latin, Coptic, Georgian and Cyrillic extensions
    (0x3200, 0x3400),  # enclosed and compatibility forms
    (0xA4D0, 0xA500),  # Lisu, made of Latin capitals
    (0xA640, 0xA6A0),  # Cyrillic
    (0xA720, 0xA800),  # Latin
    (0xAB30, 0xABC0),  # Latin, Cherokee
    (0xE000, 0xF900),  # private use
    (0xFB00, 0x10000),  # presentation and full-width forms
    (0x10280, 0x10350),  # Lycian, Carian, Old Italic, Gothic
    (0x10400, 0x10450),  # Deseret
    (0x10900, 0x10940),  # Phoenician, Lydian
    (0x1D400, 0x1D800),  # mathematical letters and digits
    (0x1F0A0, 0x1F200),  # playing cards, letters in squares
)

# Scripts kept aside for a script identification task.
_RESERVED_SCRIPTS = (
    (0x0620, 0x064B),  # Arabic
    (0x0904, 0x0DC7),  # Devanagari to Sinhala, and what lies between
    (0x0E01, 0x0E31),  # Thai
    (0x0F40, 0x0F6D),  # Tibetan
    (0x1000, 0x102B),  # Myanmar
    (0x1200, 0x1357),  # Ethiopic
    (0x1401, 0x1676),  # Canadian syllabics
    (0x1780, 0x17B4),  # Khmer
)

# Emoji that show letters or digits, or the clothing, shoes and bags of the fashion task.
_TASK_LIKE_EMOJI = (
    (0x00000, 0x02190),  # marks and letterlike symbols
    (0x024C2, 0x024C3),  # M in a circle
    (0x1F100, 0x1F200),  # letters in squares
    (0x1F392, 0x1F393),  # school bag
    (0x1F3BD, 0x1F3BE),  # running shirt
    (0x1F3E7, 0x1F3E8),  # ATM sign
    (0x1F454, 0x1F463),  # necktie to boot
    (0x1F4AF, 0x1F4B0),  # hundred points
    (0x1F4C5, 0x1F4C7),  # calendars
    (0x1F51E, 0x1F525),  # "18", "10" and signs for letters and digits
    (0x1F6CD, 0x1F6CE),  # shopping bags
)


def make_sources(inputs: Inputs) -> Iterator[ImageSource]:
    yield _source("lower", "mask", 0.30, _lower_classes(inputs))
    yield _source("symbols", "mask", 0.30, _symbol_classes(inputs))
    yield _source("emoji", "rgb", 0.08, _emoji_classes(inputs.packages))
    yield _source("maps", "rgb", 0.08, _map_classes(inputs.packages))


def _source(name: str, kind: str, share: float, classes: Iterator[list[np.ndarray]]) -> ImageSource:
    images: list[np.ndarray] = []
    labels: list[int] = []
    count = 0
    for members in classes:
        images += map(channels_first, members)
        labels += [count] * len(members)
        count += 1
    return ImageSource(name, kind, share, count, np.stack(images), np.array(labels, np.uint16))


def _lower_classes(inputs: Inputs) -> Iterator[list[np.ndarray]]:
    """Small Latin letters of train-side faces that really draw small letters."""
    faces = [f for f in inputs.faces if inputs.roles[f.kin] == "train"]
    faces = [f for f in faces if f.is_latin_text or f.is_display]
    families = by_family(f for f in faces if not is_unicase(f))
    rng = random_stream("pool/lower")
    for letter in "abcdefghijklmnopqrstuvwxyz":
        members: list[np.ndarray] = []
        while len(members) < _LOWER_IMAGES:
            family = families[rng.integers(len(families))]
            mask = _draw_mask(rng, family[rng.integers(len(family))], ord(letter))
            if mask is not None:
                members.append(mask)
        yield members


def _symbol_classes(inputs: Inputs) -> Iterator[list[np.ndarray]]:
    """The first 300 code points, in hash order, that at least three wide-coverage faces draw."""
    faces_of = _symbol_coverage(inputs.faces)
    rng = random_stream("pool/symbols")
    made = 0
    for code_point in sorted(faces_of, key=lambda c: stable_hash(f"symbol:{c}")):
        faces = faces_of[code_point]
        drawn = [_draw_mask(rng, faces[rng.integers(len(faces))], code_point)
                 for _ in range(_SYMBOL_IMAGES)]  # fmt: skip
        members = [mask for mask in drawn if mask is not None]
        if len(members) >= _SYMBOL_IMAGES // 2:
            yield members
            made += 1
        if made == _SYMBOL_CLASSES:
            return


def _symbol_coverage(faces: list[FaceInfo]) -> dict[int, list[FaceInfo]]:
    coverage: dict[int, list[FaceInfo]] = defaultdict(list)
    for face in faces:
        if not _draws_symbols(face):
            continue
        for code_point, _ in open_face(face.path).get_chars():
            if not _is_within(code_point, _TASK_LIKE + _RESERVED_SCRIPTS):
                coverage[code_point].append(face)
    return {c: members for c, members in coverage.items() if len(members) >= _SYMBOL_FACES}


def _draws_symbols(face: FaceInfo) -> bool:
    """Plain and bold faces of the three pinned kins; slanted ones would repeat them."""
    if face.kin not in PINNED_TRAIN:
        return False
    stem = Path(face.path).stem
    if face.kin == "noto":
        return stem.endswith(("-Regular", "-Bold")) and "UI" not in stem
    plain = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "FreeSans", "FreeSerif", "FreeMono")
    return stem in plain or stem in tuple(f"{name}-Bold" for name in plain[:3])


def _is_within(code_point: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code_point < end for first, end in ranges)


def _draw_mask(rng: np.random.Generator, face: FaceInfo, code_point: int) -> np.ndarray | None:
    placement = draw_placement(rng, _JITTER, _IMAGE_SIZE)
    return render_glyph(open_face(face.path), code_point, placement)


def _emoji_classes(packages: dict[str, Path]) -> Iterator[list[np.ndarray]]:
    """One class per single-character emoji: the EmojiOne drawing and, where it exists, Noto's."""
    root = packages["ruby-gemojione"] / "usr/share/rubygems-integration/all/gems/gemojione-3.3.0"
    index = json.loads((root / "config/index.json").read_text(encoding="utf-8"))
    font = ImageFont.truetype(
        packages["fonts-noto-color-emoji"] / "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
        size=109,  # the only size that the font's bitmaps have
        layout_engine=ImageFont.Layout.BASIC,
    )
    codes = {entry["unicode"] for entry in index.values() if "-" not in entry["unicode"]}
    wanted = sorted(c for c in codes if not _is_within(int(c, 16), _TASK_LIKE_EMOJI))
    ranked = sorted(wanted, key=lambda c: stable_hash(f"emoji:{c}"))
    made = 0
    for code in ranked:
        path = root / "assets/png" / f"{code}.png"
        if made == _EMOJI_CLASSES or not path.is_file():
            continue
        drawings = [Image.open(path).convert("RGBA"), _draw_emoji(font, chr(int(code, 16)))]
        yield [_fit_on_black(drawing) for drawing in drawings if drawing.getbbox()]
        made += 1


def _draw_emoji(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    image = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(image).text((10, 10), character, font=font, embedded_color=True)
    return image


def _fit_on_black(drawing: Image.Image) -> np.ndarray:
    figure = drawing.crop(drawing.getchannel("A").getbbox())
    side = max(figure.size)
    square = Image.new("RGBA", (side, side), (0, 0, 0, 255))
    square.alpha_composite(figure, ((side - figure.width) // 2, (side - figure.height) // 2))
    return _resized(square.convert("RGB"))


def _map_classes(packages: dict[str, Path]) -> Iterator[list[np.ndarray]]:
    """One class per map cell: random crops of 32 to 64 pixels. No task shows these maps."""
    rng = random_stream("pool/maps")
    for pixels in load_pool_maps(packages["marble-qt-data"]):
        for top in range(0, pixels.shape[0] - _CELL + 1, _CELL):
            for left in range(0, pixels.shape[1] - _CELL + 1, _CELL):
                cell = pixels[top : top + _CELL, left : left + _CELL]
                if cell.std(dtype=np.float64) >= _MIN_CELL_CONTRAST:
                    yield [_draw_crop(rng, cell) for _ in range(_CELL_IMAGES)]


def _draw_crop(rng: np.random.Generator, cell: np.ndarray) -> np.ndarray:
    size = int(rng.integers(_IMAGE_SIZE, 2 * _IMAGE_SIZE + 1))
    top, left = rng.integers(_CELL - size + 1, size=2)
    return _resized(Image.fromarray(cell[top : top + size, left : left + size]))


def _resized(image: Image.Image) -> np.ndarray:
    shrinks = min(image.size) >= 2 * _IMAGE_SIZE
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(image.resize((_IMAGE_SIZE, _IMAGE_SIZE), method))
