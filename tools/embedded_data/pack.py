"""Writes the task pack of the embedded suite and the pretraining pool of images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from packs import task_pack
from packs.pretraining_pool import ImageSource, PretrainingPool, write_pretraining_pool
from packs.sources import manifest_sha256
from packs.stable import stable_hash

from .task import Task

MANIFEST = Path(__file__).with_name("sources.txt")


def write_task_pack(path: Path, tasks: Sequence[Task]) -> None:
    described = tuple(_describe(task) for task in tasks)
    task_pack.write_task_pack(path, task_pack.TaskPack("embedded8", manifest_sha256(MANIFEST), described))


def write_pool(path: Path, sources: Sequence[ImageSource]) -> None:
    write_pretraining_pool(path, PretrainingPool(manifest_sha256(MANIFEST), tuple(sources)))


def _describe(task: Task) -> task_pack.Task:
    splits = {}
    for name, split in task.splits.items():
        groups = np.array([stable_hash(group) for group in split.groups], np.uint32)
        splits[name] = task_pack.Split({"images": split.images, "labels": split.labels}, groups)
    return task_pack.Task(
        task.name, "classify", task.title, task.licence, task.source, task.group_meaning, task.split_rule,
        {"classes": list(task.class_names)}, splits,
    )  # fmt: skip
