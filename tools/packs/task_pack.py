"""Task packs, version 2 (docs/packs.md): writing, reading, checking."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from .hdf5 import (
    make_group,
    open_file,
    read_json,
    read_text,
    set_format,
    set_integer,
    set_text,
    write_array,
    write_file,
    write_json,
)
from .tokens import (
    Choices,
    Ragged,
    TokenTable,
    check_choices,
    check_rows,
    check_token_table,
    read_choices,
    read_ragged,
    read_token_table,
    write_choices,
    write_ragged,
    write_token_table,
)

FORMAT = "fusegrid-task-pack"
VERSION = 2
SPLITS = ("train", "val", "test")
_TEXTS = ("kind", "title", "licence", "source", "group_meaning", "split_rule")

Array = np.ndarray | Ragged | Choices


@dataclass(frozen=True)
class Split:
    """Examples in the order in which they are stored; arrays by name, one row an example."""

    arrays: dict[str, Array]
    groups: np.ndarray  # uint32 [examples]

    def __len__(self) -> int:
        return len(self.groups)


@dataclass(frozen=True)
class Task:
    name: str
    kind: str  # one of KINDS
    title: str
    licence: str
    source: str
    group_meaning: str  # what the examples of one group share
    split_rule: str  # how groups were dealt to the splits
    attributes: dict  # what the kind asks for
    splits: dict[str, Split]


@dataclass(frozen=True)
class Judge:
    """A frozen network that says of pictures what they show."""

    config: dict  # of a family of models, with a head of all classes and behind them all styles
    tensors: dict[str, np.ndarray]  # float32


@dataclass(frozen=True)
class TaskPack:
    suite: str
    sources_sha256: str  # digest of what the pack was made from
    tasks: tuple[Task, ...]
    tokens: TokenTable | None = None  # where a task has tokens
    judge: Judge | None = None  # where a task is of the kind sample


@dataclass(frozen=True)
class Kind:
    inputs: tuple[tuple[str, ...], ...]  # arrays: a task has those of exactly one of these
    targets: tuple[str, ...]  # arrays, all of them
    attributes: tuple[str, ...] = ()


_IMAGES, _TOKENS, _BOTH = ("images",), ("tokens",), ("images", "tokens")
KINDS = {
    "classify": Kind((_IMAGES, _TOKENS, _BOTH), ("labels",), ("classes",)),
    "regress": Kind((_IMAGES, _TOKENS, _BOTH), ("values",)),
    "generate": Kind((_TOKENS, _BOTH), ("answers",), ("answer_start", "answer_end", "longest_answer")),
    "language_model": Kind((_TOKENS,), ()),
    "multiple_choice": Kind((_TOKENS,), ("choices", "labels")),
    "retrieve": Kind((_BOTH,), ()),
    "segment": Kind((_IMAGES,), ("map_classes",), ("classes",)),
    "depth": Kind((_IMAGES,), ("map_depth",)),
    "normals": Kind((_IMAGES,), ("map_normals",)),
    "sample": Kind((_IMAGES,), ("labels", "styles"), ("classes", "styles")),
}

# Element types and shapes; letters are sizes that agree inside a task.
_ARRAYS = {
    "images": ("uint8", "nchw"),
    "labels": ("uint16", "n"),
    "styles": ("uint16", "n"),
    "values": ("float32", "n"),
    "map_classes": ("uint16", "nhw"),
    "map_depth": ("float32", "nhw"),
    "map_normals": ("float32", "n3hw"),
}


def write_task_pack(path: Path, pack: TaskPack) -> None:
    """Checks and writes. Equal packs give equal bytes."""
    check_task_pack(pack)

    def fill(root: h5py.Group) -> None:
        set_format(root, FORMAT, VERSION)
        set_text(root, "suite", pack.suite)
        set_text(root, "sources_sha256", pack.sources_sha256)
        if pack.tokens is not None:
            write_token_table(root, pack.tokens)
        if pack.judge is not None:
            _write_judge(make_group(root, "judge"), pack.judge)
        parent = make_group(root, "tasks")
        images: dict[int, h5py.Dataset] = {}
        for task in pack.tasks:
            _write_task(make_group(parent, task.name), task, images)

    write_file(path, fill)


def read_task_pack(path: Path) -> TaskPack:
    with open_file(path, FORMAT, VERSION) as file:
        pack = TaskPack(
            suite=read_text(file, "suite"),
            sources_sha256=read_text(file, "sources_sha256"),
            tasks=tuple(_read_task(group, name) for name, group in file["tasks"].items()),
            tokens=read_token_table(file) if "tokens" in file else None,
            judge=_read_judge(file["judge"]) if "judge" in file else None,
        )
    check_task_pack(pack)
    return pack


def read_tokens(path: Path) -> TokenTable:
    """The token table of a pack of texts."""
    tokens = read_task_pack(path).tokens
    if tokens is None:
        raise ValueError(f"this must be a pack of texts, but it has no tokens: {path}")
    return tokens


def _write_judge(group: h5py.Group, judge: Judge) -> None:
    write_json(group, "config", judge.config)
    tensors = make_group(group, "tensors")
    for name in sorted(judge.tensors):
        write_array(tensors, name, judge.tensors[name])


def _read_judge(group: h5py.Group) -> Judge:
    return Judge(read_json(group, "config"), {name: tensor[()] for name, tensor in group["tensors"].items()})


def _write_task(group: h5py.Group, task: Task, images: dict[int, h5py.Dataset]) -> None:
    """images: those written so far, by id() of their array; tasks of the same images share them in the file, too."""
    for name in _TEXTS:
        set_text(group, name, getattr(task, name))
    write_json(group, "attributes", task.attributes)
    for split_name in SPLITS:
        split = task.splits[split_name]
        child = make_group(group, split_name)
        set_integer(child, "examples", len(split))
        for name, array in split.arrays.items():
            if name == "images" and id(array) in images:
                child[name] = images[id(array)]
                continue
            writers = {Ragged: write_ragged, Choices: write_choices, np.ndarray: write_array}
            writers[type(array)](child, name, array)
            if name == "images":
                images[id(array)] = child[name]
        write_array(child, "groups", split.groups)


def _read_task(group: h5py.Group, name: str) -> Task:
    return Task(
        name=name,
        attributes=read_json(group, "attributes"),
        splits={split: _read_split(group[split]) for split in SPLITS},
        **{text: read_text(group, text) for text in _TEXTS},
    )


def _read_split(group: h5py.Group) -> Split:
    readers = {"_offsets": read_ragged, "_rows": read_choices}  # choices have both
    arrays: dict[str, Array] = {}
    for suffix, read in readers.items():
        arrays |= {(name := each.removesuffix(suffix)): read(group, name) for each in group if each.endswith(suffix)}
    parts = {name + suffix for name in arrays for suffix in readers}
    arrays |= {name: group[name][()] for name in group if name != "groups" and name not in arrays.keys() | parts}
    return Split(arrays, group["groups"][()])


# ---- checks ------------------------------------------------------------------------------------


def check_task_pack(pack: TaskPack) -> None:
    """Raises ValueError naming the task where the pack is not what docs/packs.md says."""
    if not pack.tasks:
        raise ValueError(f"{pack.suite}: a pack has at least one task")
    if pack.tokens is not None:
        check_token_table(pack.tokens)
    if pack.judge is None and any(task.kind == "sample" for task in pack.tasks):
        raise ValueError(f"{pack.suite}: a pack with tasks of the kind sample has a judge")
    for task in pack.tasks:
        _check_task(task, pack.tokens)
    _check_grid(pack)


def _check_task(task: Task, tokens: TokenTable | None) -> None:
    if task.kind not in KINDS:
        raise ValueError(f"{task.name}: kind must be one of {', '.join(KINDS)}, but it is '{task.kind}'")
    kind = KINDS[task.kind]
    if missing := [name for name in kind.attributes if name not in task.attributes]:
        raise ValueError(f"{task.name}: a task of kind {task.kind} has the attribute {missing[0]}")
    if set(task.splits) != set(SPLITS):
        raise ValueError(
            f"{task.name}: the splits must be {', '.join(SPLITS)}, but they are {sorted(task.splits)}"
        )
    sizes: dict[str, int] = {}
    names = sorted(task.splits[SPLITS[0]].arrays)
    for split_name in SPLITS:
        where = f"{task.name}/{split_name}"
        split = task.splits[split_name]
        if sorted(split.arrays) != names or not _fits(names, kind):
            raise ValueError(
                f"{where}: a task of kind {task.kind} has one of {kind.inputs} and all of {kind.targets}, "
                f"alike in every split, but here are {sorted(split.arrays)}"
            )
        _check_split(where, split, tokens, sizes)
    _check_classes(task)
    _check_answers(task, tokens)
    _check_choices(task)
    _check_groups(task)


def _fits(names: Sequence[str], kind: Kind) -> bool:
    return any(sorted(names) == sorted([*inputs, *kind.targets]) for inputs in kind.inputs)


def _check_split(where: str, split: Split, tokens: TokenTable | None, sizes: dict[str, int]) -> None:
    if len(split) == 0:
        raise ValueError(f"{where}: there must be at least one example")
    if split.groups.dtype != np.uint32:
        raise ValueError(f"{where}/groups: elements must be uint32, but they are {split.groups.dtype}")
    for name, array in split.arrays.items():
        if len(array) != len(split):
            raise ValueError(f"{where}/{name}: there must be a row for each of the {len(split)} examples")
        if isinstance(array, (Ragged, Choices)):
            if tokens is None:
                raise ValueError(f"{where}/{name}: a pack with tokens has a table of them")
            (check_rows if isinstance(array, Ragged) else check_choices)(f"{where}/{name}", array, tokens)
        else:
            _check_array(f"{where}/{name}", array, *_ARRAYS[name], sizes | {"n": len(split)}, sizes)


def _check_array(
    where: str, array: np.ndarray, dtype: str, shape: str, known: dict[str, int], sizes: dict[str, int]
) -> None:
    if array.dtype != dtype or array.ndim != len(shape):
        raise ValueError(f"{where}: must be {dtype} {list(shape)}, but it is {array.dtype} {array.shape}")
    for letter, extent in zip(shape, array.shape):
        expected = int(letter) if letter.isdigit() else known.get(letter, extent)
        if extent != expected:
            raise ValueError(
                f"{where}: must be {list(shape)} with {letter} = {expected}, but it is {array.shape}"
            )
        if letter not in "n" and not letter.isdigit():
            sizes[letter] = extent
    if where.endswith("/values") and not np.isfinite(array).all():
        raise ValueError(f"{where}: values must be finite, but one is {array[~np.isfinite(array)][0]}")
    if "c" in shape and array.shape[shape.index("c")] not in (1, 3):
        raise ValueError(f"{where}: images have 1 or 3 channels, but these have {array.shape[1]}")


def _check_grid(pack: TaskPack) -> None:
    first: dict[str, Task] = {}
    for task in pack.tasks:
        if name := task.attributes.get("task"):
            other = first.setdefault(name, task)
            if other.attributes.get("classes") != task.attributes.get("classes"):
                raise ValueError(f"{task.name}: classes must be those of {other.name}, which is '{name}' as well")


def _check_classes(task: Task) -> None:
    for kind in ("classes", "styles"):
        names = task.attributes.get(kind, ["a", "b"])
        if not 2 <= len(names) <= 65535 or len(set(names)) != len(names) or "" in names:
            raise ValueError(f"{task.name}: {kind} must be 2 to 65535 different names")
    for split_name, split in task.splits.items():
        if "styles" in split.arrays and split.arrays["styles"].max() >= len(task.attributes["styles"]):
            raise ValueError(f"{task.name}/{split_name}/styles: must be below {len(task.attributes['styles'])}")
    if "classes" not in task.attributes:
        return
    classes = task.attributes["classes"]
    allowed = [*range(len(classes)), *([task.attributes["ignore"]] if "ignore" in task.attributes else [])]
    for split_name, split in task.splits.items():
        for name in ("labels", "map_classes"):
            if name in split.arrays and not np.isin(found := np.unique(split.arrays[name]), allowed).all():
                raise ValueError(
                    f"{task.name}/{split_name}/{name}: must be below {len(classes)}, but one is {found[-1]}"
                )


def _check_answers(task: Task, tokens: TokenTable | None) -> None:
    if "longest_answer" not in task.attributes:
        return
    end, longest = task.attributes["answer_end"], task.attributes["longest_answer"]
    for split_name, split in task.splits.items():
        for row in split.arrays["answers"].rows():
            if not 2 <= len(row) <= longest or row[-1] != end or (row[:-1] == end).any():
                raise ValueError(
                    f"{task.name}/{split_name}/answers: an answer has 2 to {longest} tokens, of which the "
                    f"last and no other is {end}, but one is {row.tolist()}"
                )
    if task.attributes["answer_start"] >= len(tokens):
        raise ValueError(f"{task.name}: answer_start must be less than the vocabulary, {len(tokens)}")


def _check_choices(task: Task) -> None:
    if task.kind != "multiple_choice":
        return
    for split_name, split in task.splits.items():
        counts = split.arrays["choices"].counts()
        if (wrong := np.flatnonzero(split.arrays["labels"] >= counts)).size:
            raise ValueError(
                f"{task.name}/{split_name}/labels: example {wrong[0]} has {counts[wrong[0]]} choices, but its label is "
                f"{split.arrays['labels'][wrong[0]]}"
            )


def _check_groups(task: Task) -> None:
    seen: dict[int, str] = {}
    for split_name in SPLITS:
        for group in np.unique(task.splits[split_name].groups).tolist():
            if seen.setdefault(group, split_name) != split_name:
                raise ValueError(f"{task.name}: group {group} is in {seen[group]} and in {split_name}")
