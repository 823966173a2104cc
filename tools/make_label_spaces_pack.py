#!/usr/bin/env python3
"""Makes the task pack of different label sets, CACHE/label_spaces.h5, of the texts in data/text.h5.

Run it from the root of the repository:

    tools/data_python tools/make_label_spaces_pack.py

A guard of two classes and three classifiers of 4 to 24 read definitions of WordNet; the guard reads those of one of
the others. The primary metric is macro F1. The same source gives the same bytes. The pack is not committed.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from packs.command import DATA, command_parser, print_file, run
from packs.task_pack import Split, Task, TaskPack, read_task_pack, write_task_pack

GUARDED = "artifact13"  # whose definitions the guard reads
UNSAFE = ("weapon", "drug")  # classes of these that it is to find
KEPT = (GUARDED, "pos4", "noun24")


def make_label_spaces_pack(texts: TaskPack, sources_sha256: str) -> TaskPack:
    tasks = {task.name: task for task in texts.tasks}
    chosen = [_guard(tasks[GUARDED]), *(tasks[name] for name in KEPT)]
    return replace(
        texts,
        suite="label_spaces",
        sources_sha256=sources_sha256,
        tasks=tuple(replace(task, attributes=task.attributes | {"metric": "macro_f1"}) for task in chosen),
    )


def _guard(task: Task) -> Task:
    unsafe = [task.attributes["classes"].index(name) for name in UNSAFE]

    def judged(split: Split) -> Split:
        labels = np.isin(split.arrays["labels"], unsafe).astype(np.uint16)
        return replace(split, arrays=split.arrays | {"labels": labels})

    return replace(
        task,
        name="guard2",
        title=f"{' or '.join(UNSAFE)}, by its definition",
        attributes={"classes": ["safe", "unsafe"]},
        splits={name: judged(split) for name, split in task.splits.items()},
    )


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--output", type=Path, help="default: CACHE/label_spaces.h5")
    arguments = parser.parse_args()
    source = DATA / "text.h5"
    made_of = source.read_bytes() + Path(__file__).read_bytes()
    pack = make_label_spaces_pack(read_task_pack(source), hashlib.sha256(made_of).hexdigest())
    for task in pack.tasks:
        print(f"{task.name}: " + ", ".join(f"{len(split)} {name}" for name, split in task.splits.items()))
    output = arguments.output or arguments.cache / "label_spaces.h5"
    write_task_pack(output, pack)
    print_file(output)


if __name__ == "__main__":
    run(main)
