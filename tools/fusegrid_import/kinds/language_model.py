"""Causal language models: texts, of which every token is asked, and questions with choices."""

from pathlib import Path

import numpy as np

from packs.task_pack import TaskPack, write_task_pack
from packs.tokens import Choices

from ..examples import Chosen, Examples, choose_examples, make_task
from ..job import Job, digest_of
from ..rows import Tokens, columns_of, filled, read_rows, templates
from ..suite import TaskEntry

_MOST_CHOICES = 100
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def make(job: Job) -> dict[str, str]:
    tokens = Tokens(job)
    examples = [choose_examples(job, task, _columns(task)) for task in job.suite.tasks]
    made_from = [[each.identity() for each in examples], [dict(each.task.more) for each in examples]]
    made_from += [tokens.sha256, tokens.longest, job.suite.name]
    job.make("pack.h5", digest_of(made_from), lambda path: _write_pack(path, job, tokens, examples))
    return {}


def _asks(task: TaskEntry) -> bool:
    """Whether the task is one of questions, and not of texts."""
    return "prompt" in task.more


def _columns(task: TaskEntry) -> list[str]:
    if not _asks(task):
        return columns_of(templates(task, "text")[0])
    choices = [name for template in templates(task, "choices", _MOST_CHOICES) for name in columns_of(template)]
    return [*columns_of(templates(task, "prompt")[0]), *choices, "label"]


def _write_pack(path: Path, job: Job, tokens: Tokens, examples: list[Examples]) -> None:
    stored, tasks = [], []
    for each in examples:
        arrays = _questions if _asks(each.task) else _texts
        made = {split: arrays(tokens, each, split, chosen) for split, chosen in each.splits.items()}
        for split in made.values():
            stored += [split["tokens"], *([split["choices"].rows] if "choices" in split else [])]
        kind = "multiple_choice" if _asks(each.task) else "language_model"
        tasks.append(make_task(kind, each, {}, lambda split, _: made[split]))
    made_from = digest_of([each.identity() for each in examples])
    write_task_pack(path, TaskPack(job.suite.name, made_from, tuple(tasks), tokens.table(stored)))


def _texts(tokens: Tokens, each: Examples, split: str, chosen: Chosen) -> dict:
    """A row for each text, cut where it is longer than rows are."""
    template = templates(each.task, "text")[0]
    rows = read_rows(chosen, columns_of(template), f"{each.task.name}/{split}")
    texts = [filled(template, row, chosen.table.where) for row in rows]
    return {"tokens": tokens.ragged(tokens.ids(texts, tokens.longest), chosen.table.where)}


def _questions(tokens: Tokens, each: Examples, split: str, chosen: Chosen) -> dict:
    label = each.column("label")
    columns = [label if name == "label" else name for name in _columns(each.task)]
    rows = read_rows(chosen, columns, f"{each.task.name}/{split}")
    where = chosen.table.where
    prompt, choices = templates(each.task, "prompt")[0], templates(each.task, "choices", _MOST_CHOICES)
    prompts = tokens.ids([filled(prompt, row, where) for row in rows])
    asked, ends, labels = [], [0], []
    for row, start in zip(rows, prompts):
        given, names = _choices(choices, row, where)
        beginning = filled(prompt, row, where)
        asked += [_behind(tokens, start, beginning, choice, where) for choice in given]
        ends.append(len(asked))
        labels.append(_right(row[label], names, where))
    return {
        "tokens": tokens.ragged(prompts, where),
        "choices": Choices(tokens.ragged(asked, where), np.array(ends, np.uint32)),
        "labels": np.array(labels, np.uint16),
    }


def _choices(choices: list[str], row: dict, where: str) -> tuple[list[str], list[str]]:
    """Texts and what a label calls them: of one template that is a column of lists, or a template for each choice."""
    given, names = [], None
    if len(choices) == 1:
        found = row[columns_of(choices[0])[0]]
        if isinstance(found, dict):  # {"text": [...], "label": [...]}, as ARC has them
            found, names = found.get("text"), found.get("label")
        given = list(found) if isinstance(found, (list, tuple)) else []
    else:
        given = [filled(choice, row, where) for choice in choices]
    if len(given) < 2 or not all(isinstance(each, str) and each for each in given):
        raise ValueError(f"{where}: a question must have two choices or more, all of them texts, but one has {given}")
    return given, names or [str(i) for i in range(len(given))]


def _behind(tokens: Tokens, start: list[int], beginning: str, choice: str, where: str) -> list[int]:
    """The ids of a choice as they follow the prompt, with the space between them."""
    whole = tokens.ids([f"{beginning} {choice}"])[0]
    if len(whole) > tokens.longest or len(whole) <= len(start) or whole[: len(start)] != start:
        raise ValueError(
            f"{where}: a prompt and its choice must have at most {tokens.longest} tokens, and the choice be what "
            f"follows the prompt, but these have {len(whole)}: '{beginning} {choice}'; shorten the template, and "
            "end it with no space"
        )
    return whole[len(start) :]


def _right(label: object, names: list[str], where: str) -> int:
    """The name of a choice; where choices have no other, its number from 0 or its letter."""
    text = str(label).strip()
    number = names.index(text) if text in names else _LETTERS.find(text) if len(text) == 1 else -1
    if not 0 <= number < len(names):
        raise ValueError(
            f"{where}: a label must be one of {', '.join(names)}, or the letter of a choice, but one is '{label}'"
        )
    return number
