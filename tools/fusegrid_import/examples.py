"""Which rows of a data set are the examples of a task, and in which order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from packs.stable import random_stream
from packs.task_pack import SPLITS, Split, Task

from .job import Job, Progress
from .suite import TaskEntry
from .tables import Table, open_splits

_HELD_OUT = 10  # one example in ten, where the data set has no split of its own


@dataclass(frozen=True)
class Chosen:
    """Rows of a table in the order in which they are stored."""

    table: Table
    rows: np.ndarray  # int64, numbers of rows of the table
    groups: np.ndarray  # uint32, numbers of rows in the data set

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, columns: list[str], what: str) -> Iterator[tuple[int, dict]]:
        """(place, row) for each of them, in the order of the table."""
        places = {row: place for place, row in enumerate(self.rows.tolist())}
        progress = Progress(what, len(places))
        for number, row in enumerate(self.table.rows(columns)):
            if number in places:
                yield places[number], row
                progress.step()


@dataclass(frozen=True)
class Examples:
    task: TaskEntry
    splits: dict[str, Chosen]
    rule: str  # how they were dealt

    def identity(self) -> list:
        return [
            [name, chosen.table.identity(), len(chosen), self.rule] for name, chosen in sorted(self.splits.items())
        ]

    def column(self, name: str) -> str:
        return self.task.column(name, self.splits["test"].table.columns)

    def columns(self, names: Sequence[str]) -> list[str]:
        """What the data set calls columns of which the label has our name."""
        return [self.column(name) if name == "label" else name for name in names]

    def check_class_names(self, classes: list[str], whose: str) -> None:
        """Whether the data set numbers its classes as those that answer do, as far as their names tell."""
        table = self.splits["test"].table
        names = table.class_names(self.column("label"))
        if names is None:
            return
        if len(names) != len(classes):
            raise ValueError(
                f"{table.where} has {len(names)} classes, but {whose} has {len(classes)}; they must be the same"
            )
        ours, theirs = ([_folded(name) for name in some] for some in (classes, names))
        if set(ours) == set(theirs) and ours != theirs:
            place = next(i for i in range(len(ours)) if ours[i] != theirs[i])
            raise ValueError(
                f"{table.where} has the classes of {whose} in another order: label {place} is '{names[place]}' and "
                f"not '{classes[place]}'; give the classes in the order of the labels"
            )


def choose_examples(job: Job, task: TaskEntry, columns: Sequence[str]) -> Examples:
    """Every split in a mixed order that depends on the task's name and on nothing else. columns: what will be read,
    image and label by our names."""
    tables = open_splits(job.roots.data(task.data, job.suite.folder), task.config)
    names = _source_splits(task, tables)
    _check_counts(job, task, names, tables)
    first_group = dict(zip(tables, np.cumsum([0] + [table.count for table in tables.values()]).tolist()))
    chosen = {}
    for split, source in names.items():
        _check_columns(tables[source], [task.column(name, tables[source].columns) for name in columns])
        rows = random_stream(f"{task.name}/{source}").permutation(tables[source].count)
        sharing = [other for other in SPLITS if names[other] == source]
        rows = _share(rows, split, sharing)
        limit = getattr(job.limits, split)
        rows = rows[: limit or None]
        if not len(rows):
            raise ValueError(
                f"{tables[source].where} must have more examples, for {' and '.join(sharing)}; it has "
                f"{tables[source].count}"
            )
        chosen[split] = Chosen(tables[source], rows, (rows + first_group[source]).astype(np.uint32))
    rule = ", ".join(f"{split}: {_printable(names[split])}" for split in SPLITS)
    return Examples(task, chosen, rule + "; those from one split apart, at random")


def _check_columns(table: Table, columns: list[str]) -> None:
    if missing := [name for name in columns if name not in table.columns]:
        raise ValueError(
            f"{table.where} must have the column '{missing[0]}', but has {', '.join(table.columns)}; name it in "
            "'columns' or the template of the suite"
        )


def _share(rows: np.ndarray, split: str, sharing: list[str]) -> np.ndarray:
    """The part of a split where several are made of one: a tenth for each but the first."""
    held_out = len(rows) // _HELD_OUT
    place = sharing.index(split)
    if place == 0:
        return rows[: len(rows) - held_out * (len(sharing) - 1)]
    start = len(rows) - held_out * place
    return rows[start : start + held_out]


def _source_splits(task: TaskEntry, tables: dict[str, Table]) -> dict[str, str]:
    if wrong := [name for name in task.splits.values() if name not in tables]:
        raise ValueError(f"task '{task.name}': the data set has no split '{wrong[0]}'. Known: {', '.join(tables)}")
    only = next(iter(tables)) if len(tables) == 1 else None
    validation = next((name for name in ("validation", "val", "valid", "dev") if name in tables), None)
    found = dict(task.splits)
    found.setdefault("train", "train" if "train" in tables else only)
    found.setdefault("test", "test" if "test" in tables else only)
    # A split that is tested on is no validation.
    found.setdefault("val", validation if validation and validation != found["test"] else found["train"])
    if missing := [split for split in SPLITS if found[split] is None]:
        raise ValueError(
            f"task '{task.name}': the suite must say in 'splits' what {missing[0]} is. Known: {', '.join(tables)}"
        )
    return found


def _check_counts(job: Job, task: TaskEntry, names: dict[str, str], tables: dict[str, Table]) -> None:
    for split, count in {} if job.any_counts else task.counts.items():
        if (found := tables[names[split]].count) != count:
            raise ValueError(
                f"{tables[names[split]].where} must have {count} examples, but has {found}; results would not "
                "compare with published ones. Download it again, or pass --any-counts"
            )


def make_task(kind: str, examples: Examples, attributes: dict, arrays: Callable[[str, Chosen], dict]) -> Task:
    """arrays(split, chosen): the arrays of a split, by name."""
    task = examples.task
    if "metric" in task.more:
        attributes = attributes | {"metric": task.more["metric"]}
    return Task(
        name=task.name,
        kind=kind,
        title=_printable(task.title or task.name),
        licence=_printable(task.licence),
        source=_printable(task.source or task.data),
        group_meaning="the number of a row in the data set",
        split_rule=examples.rule,
        attributes=attributes,
        splits={
            split: Split(arrays(split, examples.splits[split]), examples.splits[split].groups) for split in SPLITS
        },
    )


def _printable(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


# ---- labels ----------------------------------------------------------------------------------------------------------


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def read_labels(labels: list, chosen: Chosen, classes: list[str]) -> np.ndarray:
    """Numbers, or names of classes."""
    numbers = {name: number for number, name in enumerate(classes)}
    found = np.array([_number(label, numbers) for label in labels])
    if (wrong := np.flatnonzero((found < 0) | (found >= len(classes)))).size:
        raise ValueError(
            f"{chosen.table.where}: a label must be less than {len(classes)} or the name of a class, but one is "
            f"'{labels[wrong[0]]}'; -1 marks splits without labels, so name another one in 'splits'"
        )
    return found.astype(np.uint16)


def _number(label: object, numbers: dict[str, int]) -> int:
    if isinstance(label, str):
        return numbers.get(label, int(label) if label.strip().isdigit() else -1)
    return -1 if label is None or int(label) != label else int(label)
