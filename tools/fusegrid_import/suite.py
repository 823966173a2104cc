"""SUITE.json: which models and data sets make a zoo (docs/your_models.md)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Fields that every command knows; what a command reads besides is in `more`.
_TASK_FIELDS = {"data", "config", "expert", "splits", "counts", "columns", "title", "licence", "source"}
_SUITE_FIELDS = {"suite", "scale", "base", "expert", "tokenizer", "adapter_base", "longest", "tasks"}
_KIND_FIELDS = {"kind", "classes", "text", "head", "prompt", "choices", "metric"}
_KIND_FIELDS |= {"answer", "answers", "answer_end", "longest_answer"}
# What data sets call our columns; the later ones are those of WebDataset.
_COLUMNS = {"image": ("image", "img", "jpg", "png"), "label": ("label", "fine_label", "cls")}
_SPLITS = {"train", "val", "test"}


@dataclass(frozen=True)
class TaskEntry:
    name: str
    data: str  # folder, or name on the hub
    expert: str | None  # folder or name; None: an unseen task
    config: str | None = None  # folder of the data set that holds the splits, where there are several
    splits: Mapping[str, str] = field(default_factory=dict)  # ours -> the data set's
    counts: Mapping[str, int] = field(default_factory=dict)  # the data set's own number of examples
    columns: Mapping[str, str] = field(default_factory=dict)  # image, label -> the data set's
    title: str = ""
    licence: str = "unknown"
    source: str = ""
    more: Mapping = field(default_factory=dict)

    def column(self, name: str, there: Sequence[str]) -> str:
        """The data set's name for our column, of the columns that are there."""
        if name in self.columns:
            return self.columns[name]
        return next((each for each in _COLUMNS.get(name, (name,)) if each in there), name)

    def need(self, name: str) -> object:
        if name not in self.more:
            raise ValueError(f"task '{self.name}': the suite must give '{name}'; see docs/your_models.md")
        return self.more[name]


@dataclass(frozen=True)
class Suite:
    path: Path
    name: str
    scale: str
    base: str
    tokenizer: str | None  # folder or name, where the base has none
    adapter_base: str | None  # what adapters call the base, where it is not its name
    longest: int | None  # tokens of a row at most
    tasks: tuple[TaskEntry, ...]

    @property
    def folder(self) -> Path:
        return self.path.resolve().parent


def read_suite(path: Path, size: str | None, tasks: str | None, split: str | None = None) -> Suite:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: must be JSON: {error}") from None
    _check_fields(f"{path}", content, _SUITE_FIELDS, ("suite", "base", "tasks"))
    entries = []
    for name, entry in content["tasks"].items():
        where = f"{path}, task '{name}'"
        _check_fields(where, entry, _TASK_FIELDS | _KIND_FIELDS, ("data",))
        for each in ("splits", "counts"):
            _check_fields(f"{where}, {each}", entry.get(each, {}), _SPLITS, ())
        known = {key: value for key, value in entry.items() if key in _TASK_FIELDS - {"expert"}}
        if "splits" in known:
            known["splits"] = {ours: _split(where, theirs, split) for ours, theirs in known["splits"].items()}
        expert = entry["expert"] if "expert" in entry else content.get("expert")
        more = {key: value for key, value in entry.items() if key in _KIND_FIELDS}
        entries.append(TaskEntry(name, expert=expert and _filled(path, expert, size, name), more=more, **known))
    base = _filled(path, content["base"], size, "")
    return Suite(
        path,
        content["suite"],
        content.get("scale") or size or base.rsplit("/", 1)[-1],
        base,
        content.get("tokenizer"),
        content.get("adapter_base"),
        content.get("longest"),
        _chosen(path, entries, tasks),
    )


def _check_fields(where: str, content: object, known: set[str], needed: tuple[str, ...]) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{where}: must be a JSON object")
    if wrong := sorted(content.keys() - known):
        raise ValueError(f"{where}: there is no field '{wrong[0]}'. Known: {', '.join(sorted(known))}")
    if missing := [name for name in needed if name not in content]:
        raise ValueError(f"{where}: the field '{missing[0]}' is missing")


def _filled(path: Path, name: str, size: str | None, task: str) -> str:
    if "{size}" in name and size is None:
        raise ValueError(f"{path}: '{name}' has a {{size}}; give --size, such as base-patch32")
    return name.replace("{size}", size or "").replace("{task}", task)


def _split(where: str, name: str, split: str | None) -> str:
    if "{split}" in name and split is None:
        raise ValueError(f"{where}: '{name}' has a {{split}}; give --test-split, such as motion_blur")
    return name.replace("{split}", split or "")


def _chosen(path: Path, entries: list[TaskEntry], tasks: str | None) -> tuple[TaskEntry, ...]:
    if tasks is None:
        return tuple(entries)
    if tasks.isdigit():
        if not 1 <= int(tasks) <= len(entries):
            raise ValueError(f"--tasks must be 1 to {len(entries)}, the tasks of {path}, but it is {tasks}")
        return tuple(entries[: int(tasks)])
    by_name = {entry.name: entry for entry in entries}
    if missing := [name for name in tasks.split(",") if name not in by_name]:
        raise ValueError(f"--tasks: {path} has no task '{missing[0]}'. Known: {', '.join(by_name)}")
    return tuple(by_name[name] for name in tasks.split(","))
