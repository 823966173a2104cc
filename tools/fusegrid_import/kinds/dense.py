"""Maps of classes, depths and normals with ResNets: heads are the decoders of the experts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from packs.task_pack import TaskPack, write_task_pack

from ..class_heads import owner_of_head
from ..examples import Chosen, Examples, choose_examples, make_task
from ..job import Job, digest_of, say, sha256_of
from ..maps import depth_map, image_of, map_of_classes, normal_map
from ..models import read_config, read_tensors, weight_files
from ..suite import TaskEntry

_HEAD = "head."  # in front of a decoder's tensors in an expert's file
_TARGETS = {"segment": "map_classes", "depth": "map_depth", "normals": "map_normals"}
_IMAGE_SIZE = 224  # of a config.json without one


def make(job: Job) -> dict[str, str]:
    config = read_config(job.base)
    if config.get("model_type") not in ("resnet", "resnet_cifar"):
        raise ValueError(
            f"{job.base}: model_type must be resnet or resnet_cifar, whose features are maps, but it is "
            f"{config.get('model_type')}"
        )
    size = config.get("image_size", _IMAGE_SIZE)
    height, width = size if isinstance(size, list) else (size, size)
    for task in job.suite.tasks:
        _check_kind(task)
    owners = {task.name: owner_of_head(job, task) for task in job.suite.tasks}
    heads = {task: _read_head(owner) for task, owner in owners.items()}
    examples = [choose_examples(job, task, ("image", "label")) for task in job.suite.tasks]
    parts = {each.task.name: _make_parts(job, each, (height, width)) for each in examples}
    _write_pack(job, examples, parts)
    named = {f"{task}.{part}": tensor for task, head in heads.items() for part, tensor in head.items()}
    experts = [sha256_of(file) for owner in owners.values() for file in weight_files(owner)]
    path = job.make("heads.safetensors", digest_of(experts), lambda path: save_file(named, path))
    return {"heads": str(path.absolute()), "pooling": "none"}


def _check_kind(task: TaskEntry) -> None:
    if (kind := task.need("kind")) not in _TARGETS:
        raise ValueError(f"task '{task.name}': 'kind' must be one of {', '.join(_TARGETS)}, but it is '{kind}'")
    classes = task.more.get("classes")
    if (kind == "segment") != isinstance(classes, list):
        raise ValueError(
            f"task '{task.name}': the suite must give 'classes', a list, of a task of the kind segment and of no other"
        )


def _read_head(owner: Path) -> dict[str, np.ndarray]:
    head = read_tensors(owner, lambda name: name.startswith(_HEAD))
    if f"{_HEAD}weight" not in head:
        raise ValueError(
            f"{owner} must have a decoder, whose tensors are named {_HEAD}weight and so on as in a heads file "
            "(docs/zoos.md), but has none; tools/convert_nyuv2.py makes such a folder"
        )
    return {name.removeprefix(_HEAD): tensor for name, tensor in head.items()}


def _reader(task: TaskEntry) -> tuple[Callable[[object, str], np.ndarray], type, tuple[int, ...]]:
    """From a row's label to a map, its type, and the axes in front of those of pixels."""
    if task.more["kind"] == "segment":
        count = len(task.more["classes"])
        return lambda value, where: map_of_classes(value, count, where), np.uint16, ()
    if task.more["kind"] == "depth":
        return depth_map, np.float32, ()
    return normal_map, np.float32, (3,)


def _make_parts(job: Job, examples: Examples, size: tuple[int, int]) -> dict[str, tuple[Path, Path]]:
    """Images and maps of each split in files of their own, which an interrupted import goes on from."""
    task = examples.task
    read, dtype, axes = _reader(task)
    image, label = examples.column("image"), examples.column("label")
    made = {}
    for split, chosen in examples.splits.items():
        what, where = f"{task.name}/{split}", chosen.table.where
        identity = [chosen.table.identity(), chosen.rows.tolist(), size, dict(task.columns), dict(task.more)]

        def write_images(path: Path) -> None:
            images = np.lib.format.open_memmap(path, "w+", np.uint8, (len(chosen), 3, *size))
            largest = 0.0
            for place, row in chosen.read([image], f"{what} images"):
                pixels, off = image_of(row[image], where)
                images[place] = _of_size(pixels, size, where)
                largest = max(largest, off)
            images.flush()
            if largest > 0:
                say(f"{what}: images are kept in steps of 1/255, which changed a value by {largest:.2g} at most")

        def write_maps(path: Path) -> None:
            maps = np.lib.format.open_memmap(path, "w+", dtype, (len(chosen), *axes, *size))
            for place, row in chosen.read([label], f"{what} maps"):
                maps[place] = _of_size(read(row[label], where), size, where)
            maps.flush()

        made[split] = (
            job.make(f"parts/{what}.images.npy", digest_of(identity), write_images),
            job.make(f"parts/{what}.maps.npy", digest_of(identity), write_maps),
        )
    return made


def _of_size(values: np.ndarray, size: tuple[int, int], where: str) -> np.ndarray:
    if values.shape[-2:] != tuple(size):
        raise ValueError(
            f"{where}: images and maps must have {size[0]} x {size[1]} pixels, as config.json of the base says with "
            f"image_size, but one has {values.shape[-2]} x {values.shape[-1]}"
        )
    return values


def _write_pack(job: Job, examples: list[Examples], parts: dict) -> None:
    def arrays(task: TaskEntry, split: str, chosen: Chosen) -> dict:
        images, maps = (np.asarray(np.load(path, mmap_mode="r")) for path in parts[task.name][split])
        return {"images": images, _TARGETS[task.more["kind"]]: maps}

    def attributes(task: TaskEntry) -> dict:
        classes = task.more.get("classes")
        return {"classes": classes, "ignore": len(classes)} if classes else {}

    files = [file for of_task in parts.values() for pair in of_task.values() for file in pair]
    made_from = [job.suite.name, [[each.identity(), dict(each.task.more)] for each in examples]]
    made_from += [[sha256_of(file) for file in files]]

    def write(path: Path) -> None:
        tasks = tuple(
            make_task(
                each.task.more["kind"],
                each,
                attributes(each.task),
                lambda split, chosen, task=each.task: arrays(task, split, chosen),
            )
            for each in examples
        )
        write_task_pack(path, TaskPack(job.suite.name, digest_of(made_from), tasks))

    job.make("pack.h5", digest_of(made_from), write)
