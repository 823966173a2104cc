"""Chooses the examples of a task: no text in two splits, classes balanced as far as they reach."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from packs.stable import random_stream
from packs.task_pack import SPLITS

from .candidates import Candidate, Pool, folded, split_of

_ROWS_PER_GROUP = 40  # in a split; a large family of words must not be the whole task
_FILL = 1.6  # a class may have this many times its even share where others have too few


@dataclass(frozen=True)
class Example:
    row: tuple[int, ...]  # token ids as the model reads them
    label: int  # which class, or which answer
    group: str


def unambiguous(pool: Pool, keeper: dict[str, str]) -> list[Candidate]:
    """Candidates whose texts belong to the split of their group, and to one class only; each once."""
    labels: dict[tuple[str, ...], set[int]] = {}
    for candidate in pool.candidates:
        labels.setdefault(_key(candidate), set()).add(candidate.label)
    kept: dict[tuple[str, ...], Candidate] = {}
    for candidate in pool.candidates:
        split = split_of(candidate.group)
        if len(labels[_key(candidate)]) == 1 and all(
            keeper[folded(text)] == split for text in candidate.texts
        ):
            kept.setdefault(_key(candidate), candidate)
    return list(kept.values())


def _key(candidate: Candidate) -> tuple[str, ...]:
    return tuple(map(folded, candidate.texts))


def without_equal_rows(examples: Sequence[Example]) -> list[Example]:
    """Long texts are cut, so different ones may leave equal rows: the test split keeps it, then val."""
    kept: dict[tuple[int, ...], Example] = {}
    for split in ("test", "val", "train"):
        for example in examples:
            if split_of(example.group) == split:
                kept.setdefault(example.row, example)
    chosen = set(map(id, kept.values()))
    return [example for example in examples if id(example) in chosen]


def choose_splits(
    task: str, class_count: int | None, caps: Mapping[str, int], examples: Sequence[Example]
) -> dict[str, list[Example]]:
    by_split: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for example in examples:
        by_split[split_of(example.group)].append(example)
    return {split: choose(task, split, class_count, caps[split], by_split[split]) for split in SPLITS}


def choose(
    task: str, split: str, class_count: int | None, cap: int, examples: Sequence[Example]
) -> list[Example]:
    """At most `cap` in mixed order: first an even share of every class, then what is left of the larger ones.
    Where there are no classes (None) all answers are alike.

    What a smaller cap chooses, a larger one chooses as well.
    """
    order = random_stream(f"{task}/{split}").permutation(len(examples)).tolist()
    share = -(-cap // (class_count or 1))
    group_rows: Counter[str] = Counter()
    class_rows: Counter[int] = Counter()
    first, more = [], []
    for place, index in enumerate(order):
        example = examples[index]
        if group_rows[example.group] == _ROWS_PER_GROUP or class_rows[example.label] > _FILL * share:
            continue
        group_rows[example.group] += 1
        class_rows[example.label] += 1
        (first if class_rows[example.label] <= share else more).append(place)
    if class_count is not None and len(class_rows) < class_count:
        missing = sorted(set(range(class_count)) - set(class_rows))
        raise ValueError(f"{task}/{split}: every class must occur, but {missing} do not")
    return [examples[order[place]] for place in sorted((first + more)[:cap])]


def group_numbers(chosen: Mapping[str, Sequence[Example]]) -> dict[str, np.ndarray]:
    """Split -> a number for the group of each example. No hash: two groups must not share a number."""
    names = sorted({example.group for examples in chosen.values() for example in examples})
    numbers = {name: i for i, name in enumerate(names)}
    return {
        split: np.array([numbers[example.group] for example in examples], np.uint32)
        for split, examples in chosen.items()
    }
