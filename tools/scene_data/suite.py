"""The suite scenes3: one image, three targets."""

import hashlib
from pathlib import Path

import numpy as np

from packs.task_pack import SPLITS, Split, Task, TaskPack

from .scene import CLASSES, Scene, make_scene

SIZES = {"train": 1500, "val": 150, "test": 400}
SIDE = 48


def make_scenes_pack(sizes: dict[str, int] = SIZES, side: int = SIDE) -> TaskPack:
    """A scene depends on its split and its number alone: a smaller pack has the first ones of a larger one."""
    scenes = {
        split: [make_scene(np.random.RandomState([1 + index, number]), side) for number in range(sizes[split])]
        for index, split in enumerate(SPLITS)
    }
    images = {split: _stacked(scenes[split], "image") for split in SPLITS}
    first = dict(zip(SPLITS, np.cumsum([0, *sizes.values()]).tolist()))
    groups = {split: np.arange(first[split], first[split] + sizes[split], dtype=np.uint32) for split in SPLITS}

    def task(name: str, kind: str, title: str, array: str, field: str, attributes) -> Task:
        maps = {split: _stacked(scenes[split], field) for split in SPLITS}
        return Task(
            name=name,
            kind=kind,
            title=title,
            licence="Apache-2.0",
            source="made by tools/make_scenes_pack.py",
            group_meaning="one scene",
            split_rule="scenes of their own, drawn from other seeds",
            attributes=attributes(maps["train"]),
            splits={split: Split({"images": images[split], array: maps[split]}, groups[split]) for split in SPLITS},
        )

    return TaskPack(
        suite="scenes3",
        sources_sha256=_digest_of_scripts(),
        tasks=(
            task("depth", "depth", "Depth of rooms", "map_depth", "depth", _scale_of),
            task("normals", "normals", "Surface normals of rooms", "map_normals", "normals", lambda _: {}),
            task(
                "segmentation",
                "segment",
                "Surfaces and bodies of rooms",
                "map_classes",
                "classes",
                lambda _: {"classes": list(CLASSES)},
            ),
        ),
    )


def describe(pack: TaskPack) -> list[str]:
    lines = []
    for task in pack.tasks:
        sizes = ", ".join(f"{len(task.splits[split])} {split}" for split in SPLITS)
        lines.append(f"{task.name}: {sizes}")
    classes = pack.tasks[-1].splits["train"].arrays["map_classes"]
    shares = np.bincount(classes.ravel(), minlength=len(CLASSES)) / classes.size
    lines.append("shares of pixels: " + ", ".join(f"{name} {share:.2f}" for name, share in zip(CLASSES, shares)))
    return lines


def _stacked(scenes: list[Scene], field: str) -> np.ndarray:
    return np.stack([getattr(scene, field) for scene in scenes])


def _scale_of(depths: np.ndarray) -> dict:
    """Rounded, so that the order of sums says nothing."""
    return {"mean": round(float(depths.mean(dtype=np.float64)), 4), "sd": round(float(depths.std(dtype=np.float64)), 4)}


def _digest_of_scripts() -> str:
    folder = Path(__file__).parent
    texts = [(folder / name).read_bytes() for name in ("rays.py", "scene.py", "suite.py")]
    return hashlib.sha256(b"".join(texts)).hexdigest()
