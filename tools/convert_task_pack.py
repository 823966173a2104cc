#!/usr/bin/env python3
"""Writes a task pack of version 1 (images) as version 2: the same examples in the same order.

    tools/data_python tools/convert_task_pack.py data/embedded.h5 embedded_v2.h5

Its output is the file that tools/make_task_pack.py makes.
"""

from pathlib import Path

import h5py

from packs.command import command_parser, print_file, run
from packs.hdf5 import read_text
from packs.task_pack import FORMAT, SPLITS, Split, Task, TaskPack, write_task_pack


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    write_task_pack(arguments.output, read_version_1(arguments.input))
    print_file(arguments.output)


def read_version_1(path: Path) -> TaskPack:
    with h5py.File(path) as file:
        if read_text(file, "format") != FORMAT or int(file.attrs["version"]) != 1:
            raise ValueError(f"{path} must be a {FORMAT} of version 1")
        tasks = tuple(_read_task(group, name) for name, group in file["tasks"].items())
        return TaskPack(read_text(file, "suite"), read_text(file, "sources_sha256"), tasks)


def _read_task(group: h5py.Group, name: str) -> Task:
    splits = {}
    for split in SPLITS:
        arrays = {array: group[split][array][()] for array in ("images", "labels")}
        splits[split] = Split(arrays, group[split]["groups"][()])
    texts = {
        text: read_text(group, text) for text in ("title", "licence", "source", "group_meaning", "split_rule")
    }
    classes = [text.decode("utf-8") for text in group["class_names"][()].tolist()]
    return Task(name=name, kind="classify", attributes={"classes": classes}, splits=splits, **texts)


if __name__ == "__main__":
    run(main)
