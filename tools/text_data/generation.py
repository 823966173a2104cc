"""The eight text-to-text tasks: what is asked, and the answer.

Five are classification tasks whose answer is the name of the class; three have answers of their own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .candidates import Candidate, Pool
from .cldr import LANGUAGES
from .cmudict import spelled
from .tasks import CMU_GROUP, CMU_LICENCE, WORDNET_LICENCE, Inputs
from .wordnet import spaced

_LETTERS = (4, 12)  # of words that are pronounced
_MOST_LETTERS = 14  # of an adjective and its noun
_STEM = 4  # letters that keep the forms of one word in one split


@dataclass(frozen=True)
class GenerationTask:
    """All that could be asked, before any is chosen."""

    pool: Pool  # its classes are the answers
    are_open: bool  # too many for a share of each

    @property
    def class_count(self) -> int | None:
        return None if self.are_open else len(self.pool.classes)


def make_generation_tasks(inputs: Inputs, pools: dict[str, Pool]) -> tuple[GenerationTask, ...]:
    """`pools` are those of the classification tasks."""
    english = inputs.cldr.english.names
    tasks = (
        _g2p(inputs), _lemma(inputs), _nominal(inputs),
        _named(pools["noun24"], "noun", pools["noun24"].classes),
        _named(pools["artifact13"], "artifact", map(spaced, pools["artifact13"].classes)),
        _named(pools["country20"], "country", pools["country20"].classes),
        _named(pools["emoji9"], "emoji", pools["emoji9"].classes),
        _named(pools["lang16"], "language", (english[f"language/{code}"] for code in LANGUAGES)),
    )  # fmt: skip
    return tuple(sorted(tasks, key=lambda task: task.pool.name))


def word_group(word: str) -> str:
    return "word/" + word[:_STEM]


def is_plain(*words: str) -> bool:
    """One word of small letters each, which is spelled with one token a letter."""
    return all(word.isascii() and word.isalpha() and word.islower() for word in words)


def _named(pool: Pool, name: str, answers: Iterable[str]) -> GenerationTask:
    return GenerationTask(replace(pool, name=name, classes=tuple(answers)), are_open=False)


def _open(
    name: str, title: str, licence: str, source: str, group_meaning: str, asked: Iterable[tuple[str, str, str]]
) -> GenerationTask:
    """From questions, answers and groups."""
    numbers: dict[str, int] = {}
    candidates = tuple(
        Candidate((question,), numbers.setdefault(answer, len(numbers)), group)
        for question, answer, group in asked
    )
    pool = Pool(name, title, licence, source, group_meaning, tuple(numbers), candidates)
    return GenerationTask(pool, are_open=True)


def _g2p(inputs: Inputs) -> GenerationTask:
    least, most = _LETTERS
    return _open(
        "g2p", "phones of a word", CMU_LICENCE, "festlex-cmu 2.4-2, spelled words and their phones", CMU_GROUP,
        (
            (word.spelled, " ".join(word.phones), word.group)
            for word in inputs.words
            if least <= len(word.spelling) <= most
        ),
    )  # fmt: skip


def _lemma(inputs: Inputs) -> GenerationTask:
    return _open(
        "lemma", "base form of an irregular form", WORDNET_LICENCE,
        "wordnet-base 1:3.0-37, lists of exceptions, spelled",
        "the first four letters of the base form",
        (
            (spelled(form), spelled(word), word_group(word))
            for form, word in inputs.wordnet.exceptions
            if form != word and is_plain(form, word)
        ),
    )  # fmt: skip


def _nominal(inputs: Inputs) -> GenerationTask:
    """The first noun that WordNet derives from an adjective."""
    nouns: dict[str, str] = {}
    for adjective, noun in inputs.wordnet.related_words("a", "+", "n"):
        if adjective != noun and is_plain(adjective, noun):
            nouns.setdefault(adjective, noun)
    return _open(
        "nominal", "noun of an adjective", WORDNET_LICENCE,
        "wordnet-base 1:3.0-37, derivations of single words, spelled",
        "the first four letters of the adjective",
        (
            (spelled(adjective), spelled(noun), word_group(adjective))
            for adjective, noun in nouns.items()
            if max(len(adjective), len(noun)) <= _MOST_LETTERS
        ),
    )  # fmt: skip
