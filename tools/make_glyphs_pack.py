#!/usr/bin/env python3
"""Makes the task pack of letters in styles, CACHE/glyphs.h5, from pinned fonts.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_glyphs_pack.py

It downloads about 15 MB once, into CACHE/sources, and checks every SHA256. The same versions give the same bytes. The
pack is not committed; its judge is (tools/glyph_data/train_judge.py).
"""

from pathlib import Path

from glyph_data.judge import load_judge
from glyph_data.suite import LETTERS, MANIFEST, find_letters, make_glyphs_pack
from packs.command import command_parser, print_file, run
from packs.sources import prepare_sources
from packs.task_pack import SPLITS, write_task_pack


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--output", type=Path, help="default: CACHE/glyphs.h5")
    arguments = parser.parse_args()
    drawings = find_letters(prepare_sources(MANIFEST, arguments.cache))
    pack = make_glyphs_pack(drawings, load_judge(len(LETTERS)))
    for task in pack.tasks:
        print(f"{task.name}: " + ", ".join(f"{len(task.splits[split])} {split}" for split in SPLITS))
    output = arguments.output or arguments.cache / "glyphs.h5"
    write_task_pack(output, pack)
    print_file(output)


if __name__ == "__main__":
    run(main)
