"""The CMU pronouncing dictionary, as Festival ships it: English words in syllables of phones."""

import re
from dataclasses import dataclass
from pathlib import Path

# Every vowel with its own spelling problem; the weak vowel is never stressed.
VOWELS = ("aa", "ae", "ah", "ao", "aw", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw")
_WEAK_VOWEL = "ax"

_ENTRY = re.compile(r'\("([a-z]+)" (\S+) \((.*)\)\)$')
_SYLLABLE = re.compile(r"\(\(([a-z ]+)\) ([01])\)")
_SHORTEST_WORD = 3  # letters
_STEM = 5  # letters that keep the forms of one word in one split


@dataclass(frozen=True)
class Word:
    spelling: str
    syllables: tuple[tuple[str, ...], ...]  # phones of each
    stressed: tuple[int, ...]  # which of them carry the primary stress

    @property
    def spelled(self) -> str:
        return spelled(self.spelling)

    @property
    def phones(self) -> tuple[str, ...]:
        return tuple(phone for syllable in self.syllables for phone in syllable)

    @property
    def group(self) -> str:
        return "cmu/" + self.spelling[:_STEM]


def spelled(word: str) -> str:
    """Letters apart, so that each is a token."""
    return " ".join(word)


def is_vowel(phone: str) -> bool:
    return phone in VOWELS or phone == _WEAK_VOWEL


def read_cmudict(package: Path) -> tuple[Word, ...]:
    """The first pronunciation of every word."""
    path = package / "usr/share/festival/dicts/cmu/cmudict-0.4.out"
    words: dict[str, Word] = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        entry = _ENTRY.match(line.strip())
        if entry and len(entry[1]) >= _SHORTEST_WORD and entry[1] not in words:
            parts = _SYLLABLE.findall(entry[3])
            if parts:
                words[entry[1]] = Word(
                    entry[1],
                    tuple(tuple(phones.split()) for phones, _ in parts),
                    tuple(i for i, (_, stress) in enumerate(parts) if stress == "1"),
                )
    return tuple(words.values())
