"""Multiple choice: which of four endings belongs to the beginning of a text, for the domains of language models."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from packs.stable import stable_hash
from packs.task_pack import Split, Task
from packs.tokens import Choices, Ragged

from .candidates import Candidate, Pool, split_of
from .selection import Example, choose_splits, group_numbers, unambiguous, without_equal_rows
from .suite import TASK_LENGTH
from .tasks import SPLIT_RULE
from .tokenizer import RowMaker

CHOICES = 4
CAPS = {"train": 600, "val": 300, "test": 600}
_MARKS = (": ", " / ")  # between what is named and what is said of it


@dataclass(frozen=True)
class _Parts:
    text: str
    beginning: tuple[int, ...]  # tokens: a prompt
    ending: tuple[int, ...]  # the tokens behind it


def beginning_and_ending(text: str) -> tuple[str, str]:
    """Behind the first mark, or else in the middle; the ending of a single word is empty."""
    for mark in _MARKS:
        beginning, found, ending = text.partition(mark)
        if found:
            return beginning + mark.rstrip(), ending
    words = text.split(" ")
    half = (len(words) + 1) // 2
    return " ".join(words[:half]), " ".join(words[half:])


def make_ending_task(
    domain: Pool, keeper: dict[str, str], maker: RowMaker, caps: dict[str, int], vocabulary: int
) -> Task:
    name = f"{domain.name}_end"
    parts = {}
    examples = []
    for candidate, of_text in _parts(unambiguous(domain, keeper), maker):
        row = of_text.beginning + of_text.ending
        parts[row] = of_text
        examples.append(Example(row, 0, candidate.group))
    belonging = defaultdict(set)
    for each in parts.values():
        belonging[each.beginning].add(each.ending)
    once = _with_endings_once(without_equal_rows(examples), parts)
    chosen = choose_splits(name, None, caps, once)
    groups = group_numbers(chosen)
    return Task(
        name, "multiple_choice", f"{domain.title}: which ending", domain.licence, domain.source,
        domain.group_meaning, SPLIT_RULE, {"domain": domain.name},
        {
            split: _make_split(name, [parts[each.row] for each in of_split], belonging, groups[split], vocabulary)
            for split, of_split in chosen.items()
        },
    )  # fmt: skip


def _parts(candidates: Sequence[Candidate], maker: RowMaker) -> Iterator[tuple[Candidate, _Parts]]:
    """Without texts of one word, those that are too long, and those whose parts have other tokens than the whole."""
    texts = [candidate.texts[0] for candidate in candidates]
    beginnings, endings = zip(*map(beginning_and_ending, texts))
    of_texts = (maker.rows([(part,) for part in parts]) for parts in (texts, beginnings, endings))
    for candidate, row, beginning, ending in zip(candidates, *of_texts, strict=True):
        each = _Parts(candidate.texts[0], beginning[:-1], ending[1:-1])
        if each.ending and len(row) <= TASK_LENGTH and each.beginning + each.ending == row[:-1]:
            yield candidate, each


def _with_endings_once(examples: Sequence[Example], parts: dict[tuple, _Parts]) -> list[Example]:
    """A split has each ending once, so that none is right more often than others."""
    kept: dict[tuple, Example] = {}
    for example in sorted(examples, key=lambda example: stable_hash(parts[example.row].text)):
        kept.setdefault((split_of(example.group), parts[example.row].ending), example)
    return list(kept.values())


def _make_split(
    name: str, parts: Sequence[_Parts], belonging: dict[tuple, set], groups: np.ndarray, vocabulary: int
) -> Split:
    rows, labels = [], []
    for choices, label in _questions(name, parts, belonging):
        rows += choices
        labels.append(label)
    endings = Choices(Ragged.from_rows(rows, vocabulary), np.arange(len(parts) + 1, dtype=np.uint32) * CHOICES)
    beginnings = Ragged.from_rows([each.beginning for each in parts], vocabulary)
    return Split({"tokens": beginnings, "choices": endings, "labels": np.array(labels, np.uint16)}, groups)


def _questions(
    name: str, parts: Sequence[_Parts], belonging: dict[tuple, set]
) -> Iterator[tuple[list[tuple[int, ...]], int]]:
    """The endings of each example, and which belongs to it. The others are of examples of the same split that are next
    to it when all stand by their length, some before and some behind it: so the length says nothing, nor does how often
    an ending is asked."""
    order = sorted(range(len(parts)), key=lambda i: (len(parts[i].ending), stable_hash(parts[i].text), i))
    rank_of = {place: rank for rank, place in enumerate(order)}
    for place, each in enumerate(parts):
        label = stable_hash(f"{name}/{each.text}") % CHOICES
        rank = rank_of[place]
        others = [parts[i].ending for i in order[rank + 1 :] + order[:rank]]  # from the next on
        used = belonging[each.beginning].copy()
        before = _unused(reversed(others), label, used)
        behind = _unused(others, CHOICES - 1 - label, used)
        if len(before) + len(behind) < CHOICES - 1:
            raise ValueError(f"{name}: a split must have {CHOICES} different endings, but it has fewer")
        yield [*reversed(before), each.ending, *behind], label


def _unused(endings: Iterable[tuple[int, ...]], count: int, used: set) -> list[tuple[int, ...]]:
    """The first that are not used, which they then are."""
    found = list(islice(dict.fromkeys(ending for ending in endings if ending not in used), count))
    used.update(found)
    return found
