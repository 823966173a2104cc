"""What a text pack says in words, for tests of what must not stand in two splits."""

from collections import defaultdict
from itertools import pairwise

from text_data.candidates import folded


def parts(row, tokens) -> list[str]:
    """The texts of a row: one, or the two of a pair."""
    marks = [i for i, token in enumerate(row) if token in tokens.special]
    return [tokens.text(row[a + 1 : b]) for a, b in pairwise(marks)]


def splits_of_texts(pack) -> dict[str, set[str]]:
    """Folded text -> the splits that hold it, over all tasks. In a pair "word: definition" the definition counts as
    well where another task has it; what is left of a longer one says nothing."""
    found = defaultdict(set)
    of_pairs = []
    for task in pack.tasks:
        for name, split in task.splits.items():
            for row in split.arrays["tokens"].rows():
                for text in map(folded, parts(row.tolist(), pack.tokens)):
                    found[text].add(name)
                    if task.name == "rel3":
                        of_pairs += [(definition, name) for definition in text.split(": ", 1)[1:]]
    for definition, name in of_pairs:
        if definition in found:
            found[definition].add(name)
    return found
