"""Writes the task pack of the embedded suite and the pretraining pool of images."""

from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from packs import task_pack
from packs.hdf5 import make_group, set_integer, set_real, set_text, write_array, write_file
from packs.sources import manifest_sha256
from packs.stable import stable_hash

if TYPE_CHECKING:
    from .pool import Source
    from .task import Task

MANIFEST = Path(__file__).with_name("sources.txt")
POOL_IMAGE_SIZE = 32


def write_task_pack(path: Path, tasks: "list[Task]") -> None:
    described = tuple(_describe(task) for task in tasks)
    task_pack.write_task_pack(path, task_pack.TaskPack("embedded8", manifest_sha256(MANIFEST), described))


def write_pool(path: Path, sources: "list[Source]") -> None:
    def fill(root: h5py.Group) -> None:
        set_text(root, "format", "fusegrid-pretraining-pool")
        set_integer(root, "version", 1)
        set_integer(root, "image_size", POOL_IMAGE_SIZE)
        set_text(root, "sources_sha256", manifest_sha256(MANIFEST))
        parent = make_group(root, "sources")
        for source in sources:
            group = make_group(parent, source.name)
            set_real(group, "share", source.share)
            set_integer(group, "classes", source.class_count)
            set_text(group, "kind", source.kind)
            write_array(group, "images", source.images)
            write_array(group, "labels", source.labels)

    write_file(path, fill)


def _describe(task: "Task") -> task_pack.Task:
    splits = {}
    for name, split in task.splits.items():
        groups = np.array([stable_hash(group) for group in split.groups], np.uint32)
        splits[name] = task_pack.Split({"images": split.images, "labels": split.labels}, groups)
    return task_pack.Task(
        task.name, "classify", task.title, task.licence, task.source, task.group_meaning, task.split_rule,
        {"classes": list(task.class_names)}, splits,
    )  # fmt: skip
