"""Writes the HDF5 files so that equal inputs give equal bytes.

No time stamps, fixed-length strings, fixed creation order, pinned library: `h5py` is pinned because
another HDF5 may lay the same data out differently.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from .sources import manifest_sha256
from .splits import IMAGE_SIZE, SPLITS
from .stable import stable_hash

if TYPE_CHECKING:
    from .pool import Source
    from .task import Task

POOL_IMAGE_SIZE = 32
_IMAGES_PER_CHUNK = 256


def write_task_pack(path: Path, tasks: "list[Task]") -> None:
    def fill(root: h5py.Group) -> None:
        _set_text(root, "format", "fusegrid-task-pack")
        _set_integer(root, "version", 1)
        _set_text(root, "suite", "embedded8")
        _set_integer(root, "image_size", IMAGE_SIZE)
        _set_text(root, "sources_sha256", manifest_sha256())
        parent = _make_group(root, "tasks")
        for task in tasks:
            _write_task(_make_group(parent, task.name), task)

    _write_file(path, fill)


def write_pool(path: Path, sources: "list[Source]") -> None:
    def fill(root: h5py.Group) -> None:
        _set_text(root, "format", "fusegrid-pretraining-pool")
        _set_integer(root, "version", 1)
        _set_integer(root, "image_size", POOL_IMAGE_SIZE)
        _set_text(root, "sources_sha256", manifest_sha256())
        parent = _make_group(root, "sources")
        for source in sources:
            group = _make_group(parent, source.name)
            group.attrs.create("share", source.share, dtype=np.float64)
            _set_integer(group, "classes", source.class_count)
            _set_text(group, "kind", source.kind)
            _write_array(group, "images", source.images)
            _write_array(group, "labels", source.labels)

    _write_file(path, fill)


def _write_task(group: h5py.Group, task: "Task") -> None:
    for name in ("title", "licence", "source", "group_meaning", "split_rule"):
        _set_text(group, name, getattr(task, name))
    names = [name.encode() for name in task.class_names]
    text = h5py.string_dtype("utf-8", max(map(len, names)))
    group.create_dataset("class_names", data=np.array(names, text), dtype=text, track_times=False)
    for split_name in SPLITS:
        split = task.splits[split_name]
        child = _make_group(group, split_name)
        _set_integer(child, "examples", len(split.labels))
        _write_array(child, "images", split.images)
        _write_array(child, "labels", split.labels)
        ids = np.array([stable_hash(name) for name in split.groups], np.uint32)
        _write_array(child, "groups", ids)


def _write_file(path: Path, fill: Callable[[h5py.Group], None]) -> None:
    """Writes beside the target and renames, so that a crash leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with _open_without_times(partial) as file:
        fill(file)
    partial.replace(path)


def _open_without_times(path: Path) -> h5py.File:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    handle = h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, fcpl=creation, fapl=access)
    return h5py.File(handle)


def _make_group(parent: h5py.Group, name: str) -> h5py.Group:
    creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    creation.set_obj_track_times(False)
    return h5py.Group(h5py.h5g.create(parent.id, name.encode(), gcpl=creation))


def _write_array(group: h5py.Group, name: str, values: np.ndarray) -> None:
    rows = min(len(values), _IMAGES_PER_CHUNK if values.ndim > 1 else len(values))
    group.create_dataset(
        name,
        data=values,
        chunks=(rows, *values.shape[1:]),
        shuffle=True,
        compression="gzip",
        compression_opts=9,
        fletcher32=True,
        track_times=False,
    )


def _set_text(group: h5py.Group, name: str, value: str) -> None:
    data = value.encode("ascii")
    group.attrs.create(name, np.bytes_(data), dtype=h5py.string_dtype("ascii", len(data)))


def _set_integer(group: h5py.Group, name: str, value: int) -> None:
    group.attrs.create(name, value, dtype=np.int64)
