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


def question_of(text: str) -> str:
    """Without the name of the task in front."""
    return text.split(": ", 1)[1]


def asked_in(task, tokens) -> dict[str, str]:
    """What a text-to-text task asks, and the answers."""
    return {
        question_of(tokens.text(row.tolist())): tokens.text(answer.tolist())
        for split in task.splits.values()
        for row, answer in zip(split.arrays["tokens"].rows(), split.arrays["answers"].rows())
    }


def splits_of_questions(pack) -> dict[str, set[str]]:
    """Folded text, without the name of the task -> the splits that ask it, over all text-to-text tasks."""
    found = defaultdict(set)
    for task in pack.tasks:
        for name, split in task.splits.items():
            for row in split.arrays["tokens"].rows():
                found[folded(question_of(pack.tokens.text(row.tolist())))].add(name)
    return found
