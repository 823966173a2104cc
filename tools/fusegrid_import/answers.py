"""Answers of rows, by the template `answer` of a task or by its `answers`, a text for each label."""

from .examples import Examples
from .rows import columns_of, filled, templates
from .suite import TaskEntry


def answer_columns(task: TaskEntry) -> list[str]:
    """What is read to make an answer, the label by our name."""
    return ["label"] if "answers" in task.more else columns_of(templates(task, "answer")[0])


def answer_of(each: Examples, row: dict, where: str) -> str:
    task = each.task
    if "answers" not in task.more:
        return filled(templates(task, "answer")[0], row, where)
    label = str(row[each.column("label")])
    if label not in task.more["answers"]:
        raise ValueError(
            f"{where}: 'answers' of the suite must have the label '{label}', but has "
            f"{', '.join(task.more['answers'])}; -1 marks splits without labels, so name another one in "
            "'splits'"
        )
    return task.more["answers"][label]
