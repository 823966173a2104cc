"""What a command is told, and the files that it makes once."""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .hub import Roots
from .suite import Suite

_CODE = 1  # to be raised where the same inputs give other files


@dataclass(frozen=True)
class Limits:
    """Examples of a task at most; 0: all."""

    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Job:
    suite: Suite
    roots: Roots
    out: Path
    limits: Limits
    any_counts: bool
    prompts: Path | None
    base: Path
    experts: dict[str, Path]  # by task

    def make(self, name: str, made_from: object, write: Callable[[Path], None]) -> Path:
        """The file OUT/name; written where it is missing, was made from something else or is not whole."""
        path, record = self.out / name, self.out / f"{name}.made.json"
        wanted = {"code": _CODE, "made_from": made_from}
        if path.is_file() and record.is_file():
            if json.loads(record.read_text()) == json.loads(json.dumps(wanted | {"sha256": sha256_of(path)})):
                say(f"{name}: there already")
                return path
        record.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        write(partial)
        partial.replace(path)
        record.write_text(json.dumps(wanted | {"sha256": sha256_of(path)}, indent=1, sort_keys=True))
        say(f"{name}: {path.stat().st_size} bytes")
        return path


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def say(text: str) -> None:
    print(f"fusegrid_import: {text}", file=sys.stderr, flush=True)


class Progress:
    """A line for each tenth of the work."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0

    def step(self) -> None:
        self._done += 1
        if self._done * 10 // self._total != (self._done - 1) * 10 // self._total and self._total >= 1000:
            say(f"{self._what}: {self._done} of {self._total}")
