"""The pack of tasks of image classification, as a checkpoint's processor makes its images."""

import json
from pathlib import Path

import numpy as np

from packs.task_pack import TaskPack, write_task_pack

from .examples import Chosen, Examples, make_task, read_labels
from .images import Processor
from .job import Job, digest_of, sha256_of


def make_parts(job: Job, examples: Examples, processor: Processor, classes: list[str]) -> dict[str, tuple[Path, Path]]:
    """Images and labels of each split in files of their own, which an interrupted import goes on from."""
    made = {}
    for split, chosen in examples.splits.items():
        what = f"{examples.task.name}/{split}"
        identity = [chosen.table.identity(), chosen.rows.tolist(), repr(processor), dict(examples.task.columns)]
        labels = []

        def write(path: Path) -> None:
            labels.extend(_write_images(path, examples, chosen, processor, what))

        images = job.make(f"parts/{what}.npy", digest_of(identity), write)
        column = examples.column("label")
        answers = job.make(
            f"parts/{what}.labels.json",
            digest_of(identity),
            lambda path: path.write_text(json.dumps(labels or _read_column(chosen, column, what))),
        )
        read_labels(json.loads(answers.read_text()), chosen, classes)  # refused before the next split is read
        made[split] = images, answers
    return made


def _write_images(path: Path, examples: Examples, chosen: Chosen, processor: Processor, what: str) -> list:
    image, label = examples.column("image"), examples.column("label")
    shape = (len(chosen), 3, processor.side, processor.side)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    labels: list = [None] * len(chosen)
    for place, row in chosen.read([image, label], what):
        images[place] = processor(row[image], chosen.table.where)
        labels[place] = row[label]
    images.flush()
    return labels


def _read_column(chosen: Chosen, column: str, what: str) -> list:
    values: list = [None] * len(chosen)
    for place, row in chosen.read([column], what):
        values[place] = row[column]
    return values


def write_pack(job: Job, examples: list[Examples], classes: dict[str, list[str]], parts: dict) -> None:
    """parts: of each task, what make_parts() made."""

    def arrays(task: str, split: str, chosen: Chosen) -> dict:
        images, labels = parts[task][split]
        return {
            "images": np.asarray(np.load(images, mmap_mode="r")),  # mapped, not read: a suite may have 35 GB of them
            "labels": read_labels(json.loads(labels.read_text()), chosen, classes[task]),
        }

    tasks = tuple(
        make_task(
            "classify",
            each,
            {"classes": classes[each.task.name]},
            lambda split, chosen, name=each.task.name: arrays(name, split, chosen),
        )
        for each in examples
    )
    made_from = [job.suite.name, classes, [[task.name, task.title, task.licence, task.source] for task in tasks]]
    files = [file for of_task in parts.values() for pair in of_task.values() for file in pair]
    made_from += [[each.identity() for each in examples], [sha256_of(file) for file in files]]
    pack = TaskPack(job.suite.name, digest_of(made_from), tasks)
    job.make("pack.h5", digest_of(made_from), lambda path: write_task_pack(path, pack))
