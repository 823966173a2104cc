"""The suite embedded30: the eight embedded tasks, and each of several seen otherwise or asked otherwise.

A derived task takes examples of its source, split by split, so that what the source keeps apart stays apart; all
arithmetic is of whole numbers, so that the same pack gives the same bytes everywhere.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from packs.task_pack import SPLITS, Split, Task, TaskPack

SIZES = {"train": 2000, "val": 400, "test": 600}  # of each task at most; classes that are left out make fewer

Images = np.ndarray  # uint8 [n, C, H, W]


def turned(images: Images, _: Images) -> Images:
    """A quarter to the left."""
    return np.rot90(images, axes=(2, 3))


def negative(images: Images, _: Images) -> Images:
    return 255 - images


def small(images: Images, _: Images) -> Images:
    """Half as wide and high, in the middle of black."""
    n, channels, height, width = images.shape
    quads = images.reshape(n, channels, height // 2, 2, width // 2, 2).astype(np.uint32)
    halves = ((quads.sum(axis=(3, 5)) + 2) // 4).astype(np.uint8)
    canvas = np.zeros_like(images)
    top, left = height // 4, width // 4
    canvas[:, :, top : top + height // 2, left : left + width // 2] = halves
    return canvas


def on_map(images: Images, maps: Images) -> Images:
    """Bright on a darkened crop of a satellite map, another one for each example of the same split."""
    places = np.arange(len(images)) % len(maps)
    ground = maps[places] // 2
    return np.maximum(np.broadcast_to(images, ground.shape), ground)


@dataclass(frozen=True)
class Variant:
    """A task made of another one."""

    source: str
    ending: str
    title: str
    look: Callable[[Images, Images], Images] | None = None
    classes: tuple[tuple[str, tuple[int, ...]], ...] = ()  # names, and the source's classes that they stand for


def _looks(sources: tuple[str, ...], ending: str, title: str, look: Callable) -> list[Variant]:
    return [Variant(source, ending, title, look) for source in sources]


VARIANTS = (
    *_looks(("fashion", "mnist", "svdigits", "upper26", "hebrew22", "cyrillic32"), "turned", "turned left", turned),
    *_looks(
        ("fashion", "mnist", "upper26", "hebrew22", "cyrillic32", "fontid12"), "negative", "dark on light", negative
    ),
    *_looks(("mnist", "upper26", "hebrew22", "cyrillic32"), "map", "on satellite maps", on_map),
    *_looks(("fashion", "mnist", "upper26"), "small", "half as large", small),
    Variant(
        "fashion", "kind4", "which kind of clothes",
        classes=(("tops", (0, 2, 3, 4, 6)), ("trousers", (1,)), ("shoes", (5, 7, 9)), ("bags", (8,))),
    ),
    Variant(
        "svdigits", "parity2", "even or odd",
        classes=(("even", (0, 2, 4, 6, 8)), ("odd", (1, 3, 5, 7, 9))),
    ),
    Variant(
        "upper26", "half13", "A to M",
        classes=tuple((chr(ord("A") + letter), (letter,)) for letter in range(13)),
    ),
)  # fmt: skip


def make_many_pack(source: TaskPack, sources_sha256: str) -> TaskPack:
    by_name = {task.name: task for task in source.tasks}
    maps = {split: by_name["terrain10"].splits[split].arrays["images"] for split in SPLITS}
    tasks = [_first_examples(task) for task in source.tasks]
    tasks += [_first_examples(_derived(by_name[variant.source], variant, maps)) for variant in VARIANTS]
    return TaskPack("embedded30", sources_sha256, tuple(sorted(tasks, key=lambda task: task.name)))


def describe(pack: TaskPack) -> list[str]:
    return [
        f"{task.name}: {len(task.attributes['classes'])} classes, "
        + ", ".join(f"{len(task.splits[split])} {split}" for split in SPLITS)
        for task in pack.tasks
    ]


def digest_of_scripts() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _derived(task: Task, variant: Variant, maps: dict[str, Images]) -> Task:
    splits = {split: _seen(task.splits[split], variant, maps[split]) for split in SPLITS}
    attributes = dict(task.attributes)
    if variant.classes:
        attributes["classes"] = [name for name, _ in variant.classes]
    name = task.name.rstrip("0123456789") + "_" + variant.ending
    return replace(
        task,
        name=name,
        title=f"{task.title}, {variant.title}",
        source=f"{task.source}; made of the task {task.name} by tools/make_many_pack.py",
        attributes=attributes,
        splits=splits,
    )


def _seen(split: Split, variant: Variant, maps: Images) -> Split:
    images, labels, groups = split.arrays["images"], split.arrays["labels"], split.groups
    if variant.classes:
        new_label = {old: new for new, (_, olds) in enumerate(variant.classes) for old in olds}
        kept = np.isin(labels, list(new_label))
        images, groups = images[kept], groups[kept]
        labels = np.array([new_label[int(label)] for label in labels[kept]], labels.dtype)
    if variant.look is not None:
        images = np.ascontiguousarray(variant.look(images, maps))
    return Split({"images": images, "labels": labels}, groups)


def _first_examples(task: Task) -> Task:
    """Examples stand in mixed order, so that the first ones are a sample."""
    splits = {
        name: Split({key: array[: SIZES[name]] for key, array in split.arrays.items()}, split.groups[: SIZES[name]])
        for name, split in task.splits.items()
    }
    return replace(task, splits=splits)
