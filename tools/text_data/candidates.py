"""What a task can be made of, and which split a group is dealt to."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from packs.stable import stable_hash


@dataclass(frozen=True)
class Candidate:
    texts: tuple[str, ...]  # one, or the two of a pair
    label: int
    group: str  # what shares its split


@dataclass(frozen=True)
class Pool:
    """All candidates of a task, before any is chosen."""

    name: str
    title: str
    licence: str
    source: str
    group_meaning: str
    classes: tuple[str, ...]
    candidates: tuple[Candidate, ...]


@cache
def split_of(group: str) -> str:
    """70 % of the groups are for training, 10 % for choosing settings, 20 % for testing."""
    share = stable_hash(group) % 10
    return "test" if share < 2 else "val" if share == 2 else "train"


def folded(text: str) -> str:
    """Texts that differ in case or spaces only are one text."""
    return " ".join(text.casefold().split())


def is_train(group: str) -> bool:
    return split_of(group) == "train"


def held_out_texts(pools: Iterable[Pool]) -> dict[str, str]:
    """Folded text -> the split that keeps it, over all tasks. Where groups of several splits hold the
    same text, the test split keeps it, then val."""
    rank = {"test": 0, "val": 1, "train": 2}
    keeper: dict[str, str] = {}
    for pool in pools:
        for candidate in pool.candidates:
            split = split_of(candidate.group)
            for text in map(folded, candidate.texts):
                keeper[text] = min(keeper.get(text, split), split, key=rank.__getitem__)
    return keeper
