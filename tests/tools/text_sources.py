"""Packages in small: folders with the files that the text packs are made of, filled with made-up text.

Every group of synsets, names and words is drawn until it falls into the split that is wanted, so that each class has
examples in each. Some texts are there to be caught: they would leak from one split to another.
"""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

from text_data.candidates import split_of
from text_data.cldr import LANGUAGES
from text_data.cmudict import VOWELS
from text_data.tasks import _ARTIFACTS
from text_data.wordnet import NOUN_FILES, VERB_FILES

_SPLITS = ("train",) * 5 + ("val",) * 2 + ("test",) * 3
_SYLLABLES = ("ba", "co", "du", "fi", "ge", "la", "mo", "nu", "pi", "re", "sa", "to", "vu", "wi", "ze")

SHARED_DEFINITION = "what two synsets of different splits both say"
LONG_BEGINNING = " ".join(f"word{i}" for i in range(30))
AMBIGUOUS_FORM = "axes"  # of three words


def make_packages(folder: Path) -> dict[str, Path]:
    names = ("wordnet-base", "unicode-cldr-core", "unicode-data", "festlex-cmu")
    packages = {name: folder / name for name in names}
    _write_wordnet(packages["wordnet-base"] / "usr/share/wordnet")
    emoji = _emoji()
    _write_cldr(packages["unicode-cldr-core"] / "usr/share/unicode/cldr/common", emoji)
    _write_emoji_groups(packages["unicode-data"] / "usr/share/unicode/emoji", emoji)
    _write_cmudict(packages["festlex-cmu"] / "usr/share/festival/dicts/cmu")
    return packages


def _drawn(prefix: str, split: str, candidates) -> str:
    """The next candidate whose group falls into the split."""
    return next(c for c in candidates if split_of(prefix + c) == split)


# A form that is tested on, though the dictionary has it in a group that is trained on; and one too long to be asked.
_FORM = next(
    f"{a}{b}rma" for a, b in itertools.product("bcdfgh", repeat=2)
    if split_of(f"cmu/{a}{b}rma") == "train" and split_of(f"word/{a}{b}rm") == "test"
)  # fmt: skip
FORM_OF_TEST = (_FORM, _FORM[:-1] + "um")
LONG_FORM = ("nonsense" * 4 + "a", "nonsense" * 4 + "um")


# ---- WordNet -----------------------------------------------------------------------------------


class _Synsets:
    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {part: [] for part in "nvar"}
        self._random = random.Random(1)
        self._offsets = map("{:08d}".format, itertools.count(1000))

    def offset(self, part: str, split: str) -> str:
        return _drawn(f"wordnet/{part}", split, self._offsets)

    def next_offset(self) -> str:
        return next(self._offsets)

    def definition(self, length: int = 6) -> str:
        return " ".join(self.word() for _ in range(length))

    def word(self) -> str:
        return "".join(self._random.choices(_SYLLABLES, k=self._random.randint(2, 3)))

    def add(
        self,
        part: str,
        offset: str,
        file: int,
        words: list[str],
        relations: list[tuple[str, ...]],  # symbol, target, its part of speech; the numbers of the words
        gloss: str,
        kind: str | None = None,
    ) -> None:
        listed = " ".join(f"{word} 0" for word in words)
        pointers = " ".join(" ".join((*relation, "0000")[:4]) for relation in relations)
        self.lines[part].append(
            f"{offset} {file:02d} {kind or part} {len(words):02x} {listed} {len(relations):03d} {pointers} | {gloss}  "
        )

    def family(self, part: str, file: int, split: str, parent_relations: list, members: int = 3) -> str:
        """A parent whose children are all of the split."""
        parent = self.offset(part, split)
        self.add(part, parent, file, [self.word()], parent_relations, self.definition())
        for _ in range(members):
            gloss = f'{self.definition()}; "{self.definition(5)}"; "{self.definition(4)}"'
            words = [self.word(), f"{self.word()}_{self.word()}"]
            self.add(part, self.next_offset(), file, words, [("@", parent, part)], gloss)
        return parent


def _write_wordnet(folder: Path) -> None:
    made = _Synsets()
    for file in NOUN_FILES:
        for split in _SPLITS:
            made.family("n", file, split, [])
    for word in _ARTIFACTS:
        root = made.next_offset()
        made.add("n", root, 6, [word], [], made.definition())
        for split in _SPLITS:
            made.family("n", 6, split, [("@", root, "n")])
    for file in VERB_FILES:
        for split in _SPLITS:
            made.family("v", file, split, [])
    for split in _SPLITS:
        for _ in range(3):
            head = made.offset("a", split)
            made.add("a", head, 0, [f"{made.word()}(p)"], [], made.definition())
            made.add(
                "a", made.next_offset(), 0, [made.word()], [("&", head, "a")], made.definition(), kind="s"
            )
            made.add("r", made.next_offset(), 2, [made.word()], [("\\", head, "a")], made.definition())
    _add_traps(made)
    _add_derivations(made)
    folder.mkdir(parents=True)
    _write_exceptions(folder)
    for part, name in (("n", "noun"), ("v", "verb"), ("a", "adj"), ("r", "adv")):
        header = "  1 This is the licence, indented by two spaces.  \n"
        (folder / f"data.{name}").write_text(
            header + "".join(f"{line}\n" for line in made.lines[part]), "latin-1"
        )


def _add_traps(made: _Synsets) -> None:
    parents = {split: made.family("n", 4, split, []) for split in ("train", "val", "test")}
    for i, (split, parent) in enumerate(parents.items()):
        relation = [("@", parent, "n")]
        # One definition in three splits, in three spellings.
        text = (SHARED_DEFINITION, SHARED_DEFINITION.upper(), SHARED_DEFINITION.replace(" ", "  "))[i]
        made.add("n", made.next_offset(), 4, [made.word()], relation, text)
        # Different definitions that are equal where they are cut.
        made.add("n", made.next_offset(), 4, [made.word()], relation, f"{LONG_BEGINNING} {split}")
    # A noun below two parents: a sister by the second, but of the first one's split.
    both = [("@", parents["test"], "n"), ("@", parents["train"], "n")]
    for _ in range(20):
        made.add("n", made.next_offset(), 4, [made.word()], both, made.definition())


def _add_derivations(made: _Synsets) -> None:
    """Of each split adjectives with a noun, an adverb and, by the same letters, a verb."""
    stems = _stems(4, seed=4)
    for split in _SPLITS * 2:
        stem = _drawn("word/", split, stems)
        noun, adjective = made.next_offset(), made.next_offset()
        # The second word of the adjective: it is not the synset that is related.
        derived = [("+", noun, "n", "0201"), ("+", noun, "n", "0202")]
        made.add("n", noun, 7, [f"{stem}osity", f"{stem}ness"], [], made.definition())
        made.add("a", adjective, 0, [made.word(), f"{stem}ous"], derived, made.definition(), kind="s")
        made.add("r", made.next_offset(), 2, [f"{stem}ously"], [("\\", adjective, "a", "0102")], made.definition())
        made.add("v", made.next_offset(), 30, [f"{stem}ize"], [("+", noun, "n", "0101")], made.definition())


def _write_exceptions(folder: Path) -> None:
    stems = _stems(4, seed=5)
    lines = [f"{stem}ia {stem}ium" for stem in (_drawn("word/", split, stems) for split in _SPLITS * 2)]
    lines += [f"{form} {word}" for form, word in (FORM_OF_TEST, LONG_FORM)]
    lines += [f"{AMBIGUOUS_FORM} axis axe", "kept_apart keep_apart", "same same"]
    for name in ("noun.exc", "verb.exc", "adj.exc", "adv.exc"):
        (folder / name).write_text("\n".join(lines if name == "noun.exc" else [f"{AMBIGUOUS_FORM} ax"]), "latin-1")


def _stems(length: int, seed: int) -> Iterator[str]:
    generator = random.Random(seed)
    return ("".join(generator.choices("abcdefghilmnoprst", k=length)) for _ in itertools.count())


# ---- CLDR --------------------------------------------------------------------------------------


def _emoji() -> dict[str, list[str]]:
    """Title of a group -> its emoji."""
    points = map(chr, itertools.count(0x1F300))
    return {f"Group & {i}": [_drawn("emoji/", split, points) for split in _SPLITS] for i in range(9)}


def _write_cldr(common: Path, emoji: dict[str, list[str]]) -> None:
    codes = ["".join(letters) for letters in itertools.product("abcdefghijkl", repeat=2)]
    countries = [code.upper() for code in codes[:22]]
    generator = random.Random(2)
    for folder in ("main", "annotations", "subdivisions"):
        (common / folder).mkdir(parents=True)
    for language in ("en", *LANGUAGES):
        ending = language * 2
        languages = "".join(
            f'<language type="{c}">Lang{c} {ending}</language>' for c in dict.fromkeys((*codes, *LANGUAGES))
        )
        territories = "".join(f'<territory type="{c}">Terr{c} {ending}</territory>' for c in countries)
        currencies = "".join(
            f'<currency type="C{c}"><displayName>Coin{c} {ending}</displayName>'
            f'<displayName count="one">no</displayName></currency>'
            for c in codes[:40]
        )
        # The same in two languages; inherited; of the train split here and of the test split there.
        languages += '<language type="same">Samename everywhere</language>'
        languages += '<language type="up">\u2191\u2191\u2191</language>'
        (common / "main" / f"{language}.xml").write_text(
            f"<ldml><localeDisplayNames><languages>{languages}</languages><territories>{territories}</territories>"
            f"</localeDisplayNames><numbers><currencies>{currencies}</currencies></numbers></ldml>",
            "utf-8",
        )
        annotations = "".join(
            f'<annotation cp="{cp}">{" | ".join(generator.sample(_SYLLABLES, 4))}</annotation>'
            f'<annotation cp="{cp}" type="tts">emoji {i} {j} \u00e9{ending}</annotation>'
            for i, members in enumerate(emoji.values())
            for j, cp in enumerate(members)
        )
        (common / "annotations" / f"{language}.xml").write_text(
            f"<ldml><annotations>{annotations}</annotations></ldml>", "utf-8"
        )
    stems = (
        "".join(generator.choices("abcdefghijklmnoprstuvw", k=4)).capitalize() for _ in itertools.count()
    )
    subdivisions = "".join(
        f'<subdivision type="{country.lower()}{i}">{_drawn("subdivision/", split, stems)}shire</subdivision>'
        for country in countries
        for i, split in enumerate(_SPLITS)
    )
    (common / "subdivisions/en.xml").write_text(
        f"<ldml><localeDisplayNames><subdivisions>{subdivisions}</subdivisions></localeDisplayNames></ldml>",
        "utf-8",
    )


def _write_emoji_groups(folder: Path, emoji: dict[str, list[str]]) -> None:
    folder.mkdir(parents=True)
    lines = []
    for title, members in emoji.items():
        lines.append(f"# group: {title}")
        lines += [f"{ord(cp):X} FE0F ; fully-qualified # {cp} E1.0" for cp in members]
    lines += ["# group: Component", "1F3FB ; component # x"]
    (folder / "emoji-test.txt").write_text("\n".join(lines), "utf-8")


# ---- CMU dictionary ----------------------------------------------------------------------------


def _write_cmudict(folder: Path) -> None:
    stems = _stems(5, seed=3)
    lines = [f'("{FORM_OF_TEST[0]}" nil (((f ao) 1) ((m ax) 0)))']
    for vowel in VOWELS:
        for split in _SPLITS:
            stem = _drawn("cmu/", split, stems)
            for i, ending in enumerate(("er", "ing", "ed")):
                syllables = [f"(({'t ' + vowel if j == i else 'k ax'}) {int(j == i)})" for j in range(3)]
                lines.append(f'("{stem}{ending}" nil ({" ".join(syllables)}))')
    folder.mkdir(parents=True)
    (folder / "cmudict-0.4.out").write_text("\n".join(lines), "latin-1")
