"""What a task is, and what all tasks are made of."""

from dataclasses import dataclass
from pathlib import Path

from .fonts import FaceInfo, assign_roles, find_faces
from .maps import BlockedMap, load_blue_marble, load_schagen
from .splits import Split

COUNTS = {"train": 4000, "val": 800, "test": 800}

# Made in this order: where an image could stand in two splits, the test split keeps it.
MAKING_ORDER = ("test", "val", "train")

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Task:
    name: str
    title: str
    licence: str
    source: str
    group_meaning: str
    split_rule: str
    class_names: tuple[str, ...]
    splits: dict[str, Split]


@dataclass(frozen=True)
class Inputs:
    """What the tasks are made of, loaded once."""

    packages: dict[str, Path]
    faces: list[FaceInfo]
    roles: dict[str, str]  # kin -> role
    blue_marble: BlockedMap
    schagen: BlockedMap


def load_inputs(packages: dict[str, Path]) -> Inputs:
    faces = find_faces(packages)
    marble = packages["marble-qt-data"]
    return Inputs(
        packages, faces, assign_roles(faces), load_blue_marble(marble), load_schagen(marble)
    )
