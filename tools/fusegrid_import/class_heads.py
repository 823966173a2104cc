"""Whose classification head answers a task, and what its classes are."""

from pathlib import Path

from .examples import Examples
from .job import Job
from .models import read_config
from .suite import TaskEntry


def owner_of_head(job: Job, task: TaskEntry) -> Path:
    if task.expert:
        return job.experts[task.name]
    return job.roots.model(str(task.need("head")), job.suite.folder)


def classes_of(examples: Examples, owner: Path, count: int) -> list[str]:
    """In the order of the rows of the owner's head, of which there are so many."""
    task, table = examples.task, examples.splits["test"].table
    config = read_config(owner) if (owner / "config.json").is_file() else {}
    labels = {int(number): str(name) for number, name in (config.get("id2label") or {}).items()}
    said = [labels.get(i, f"LABEL_{i}") for i in range(count)]
    named = task.more.get("classes") or (said if not any(name.startswith("LABEL_") for name in said) else None)
    classes = [str(name) for name in named or table.class_names(examples.column("label")) or range(count)]
    if len(classes) != count:
        raise ValueError(
            f"task '{task.name}': the head of {owner} has {count} classes, but the data set, or 'classes' of the "
            f"suite, has {len(classes)}"
        )
    examples.check_class_names(classes, f"the head of {owner}")
    return classes
