"""WordNet 3.0: synsets with their words, definitions, examples and relations.

The group of a synset keeps what would give a definition away in one split: sisters, which share
their first hypernym, and the words that stand around an adjective.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .candidates import folded, is_train

Key = tuple[str, str]  # part of speech (n, v, a, r), offset in its file

_FILES = {"n": "data.noun", "v": "data.verb", "a": "data.adj", "r": "data.adv"}
_EXCEPTION_FILES = ("noun.exc", "verb.exc", "adj.exc", "adv.exc")
_SHORTEST_DEFINITION = 8  # characters; shorter ones say nothing
_WHOLE_SYNSETS = "0000"  # numbers of the words of a relation that is not one of single words

# Numbers of the lexicographer files; left out: nouns of the top (3) and motives (16), of which there are few.
NOUN_FILES = {
    4: "act", 5: "animal", 6: "artifact", 7: "attribute", 8: "body", 9: "cognition", 10: "communication",
    11: "event", 12: "feeling", 13: "food", 14: "group", 15: "location", 17: "object", 18: "person",
    19: "phenomenon", 20: "plant", 21: "possession", 22: "process", 23: "quantity", 24: "relation",
    25: "shape", 26: "state", 27: "substance", 28: "time",
}  # fmt: skip
VERB_FILES = {
    29: "body", 30: "change", 31: "cognition", 32: "communication", 33: "competition", 34: "consumption",
    35: "contact", 36: "creation", 37: "emotion", 38: "motion", 39: "perception", 40: "possession",
    41: "social", 42: "stative",
}  # fmt: skip


@dataclass(frozen=True)
class Synset:
    key: Key
    file: int  # number of the lexicographer file
    is_satellite: bool  # of an adjective
    words: tuple[str, ...]
    relations: tuple[tuple[str, Key], ...]  # symbol, target
    word_relations: tuple[tuple[str, int, Key, int], ...]  # those of single words: symbol, word, target, its word
    definition: str
    examples: tuple[str, ...]

    @property
    def name(self) -> str:
        return spaced(self.words[0])

    def first(self, *symbols: str) -> Key | None:
        return next((target for symbol, target in self.relations if symbol in symbols), None)


@dataclass(frozen=True)
class WordNet:
    synsets: dict[Key, Synset]
    exceptions: tuple[tuple[str, str], ...]  # irregular form of a word, and the word

    def group(self, synset: Synset) -> str:
        return self._groups[synset.key]

    @cached_property
    def _groups(self) -> dict[Key, str]:
        return {key: self._group(synset) for key, synset in self.synsets.items()}

    def _group(self, synset: Synset) -> str:
        key = synset.key
        if key[0] == "n":
            key = synset.first("@", "@i") or key
        elif key[0] == "v":
            key = synset.first("@") or key
        elif key[0] == "a":
            key = self._head(synset)
        elif base := synset.first("\\"):  # the adjective that the adverb comes from
            key = self._head(self.synsets[base])
        return "wordnet/" + key[0] + key[1]

    @cached_property
    def defined(self) -> tuple[Synset, ...]:
        """Synsets with a definition of some length that no earlier one has."""
        seen: set[str] = set()
        kept = []
        for synset in self.synsets.values():
            text = folded(synset.definition)
            if len(text) >= _SHORTEST_DEFINITION and text not in seen:
                kept.append(synset)
            seen.add(text)
        return tuple(kept)

    @cached_property
    def hyponyms(self) -> dict[Key, list[Key]]:
        found: dict[Key, list[Key]] = defaultdict(list)
        for synset in self.synsets.values():
            for symbol, target in synset.relations:
                if symbol in ("@", "@i"):
                    found[target].append(synset.key)
        return found

    def closure(self, word: str, file: int) -> set[Key]:
        """The first noun of that file whose first word it is, with everything below it."""
        roots = (
            s.key for s in self.synsets.values() if s.key[0] == "n" and s.words[0] == word and s.file == file
        )
        waiting = [next(roots)]
        seen = set(waiting)
        while waiting:
            below = [key for key in self.hyponyms.get(waiting.pop(), []) if key not in seen]
            seen.update(below)
            waiting += below
        return seen

    def related_words(self, part: str, symbol: str, target_part: str) -> Iterator[tuple[str, str]]:
        """Words that a relation of single words connects: happy and happiness by ("a", "+", "n")."""
        for synset in self.synsets.values():
            for relation, word, target, target_word in synset.word_relations:
                if (synset.key[0], relation, target[0]) == (part, symbol, target_part):
                    yield synset.words[word], self.synsets[target].words[target_word]

    def train(self) -> Iterator[Synset]:
        return (synset for synset in self.defined if is_train(self.group(synset)))

    def _head(self, adjective: Synset) -> Key:
        return (adjective.first("&") if adjective.is_satellite else None) or adjective.key


def spaced(word: str) -> str:
    return word.replace("_", " ")


def read_wordnet(package: Path) -> WordNet:
    folder = package / "usr/share/wordnet"
    synsets = {}
    for part, name in _FILES.items():
        for line in (folder / name).read_text(encoding="latin-1").splitlines():
            if not line.startswith("  "):  # the licence stands in front, indented
                synset = _parse(part, line)
                synsets[synset.key] = synset
    return WordNet(synsets, tuple(_read_exceptions(folder)))


def _read_exceptions(folder: Path) -> Iterator[tuple[str, str]]:
    """A line has a form and the words, one or more, that it is a form of."""
    for name in _EXCEPTION_FILES:
        for line in (folder / name).read_text(encoding="latin-1").splitlines():
            form, *words = line.split()
            yield from ((form, word) for word in words)


def _parse(part: str, line: str) -> Synset:
    """offset file type count (word id)* count (symbol offset part source/target)* ... | gloss"""
    head, gloss = line.split(" | ", 1)
    fields = head.split()
    word_count = int(fields[3], 16)
    words = tuple(re.sub(r"\((a|p|ip)\)$", "", fields[4 + 2 * i]) for i in range(word_count))
    at = 4 + 2 * word_count
    relations, word_relations = [], []
    for i in range(int(fields[at])):
        symbol, offset, target_part, numbers = fields[at + 1 + 4 * i : at + 5 + 4 * i]
        target = ("a" if target_part == "s" else target_part, offset)
        relations.append((symbol, target))
        if numbers != _WHOLE_SYNSETS:
            word_relations.append((symbol, int(numbers[:2], 16) - 1, target, int(numbers[2:], 16) - 1))
    definition, examples = _parse_gloss(gloss.strip())
    return Synset(
        (part, fields[0]), int(fields[1]), fields[2] == "s", words, tuple(relations), tuple(word_relations),
        definition, examples,
    )  # fmt: skip


def _parse_gloss(gloss: str) -> tuple[str, tuple[str, ...]]:
    """A definition, then examples in quotation marks."""
    definition = re.split(r';\s*"', gloss, maxsplit=1)[0]
    examples = tuple(re.findall(r'"([^"]+)"', gloss[len(definition) :]))
    return definition.strip().rstrip(";").strip().strip('"'), examples
