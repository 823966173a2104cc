#!/usr/bin/env python3
"""Makes the task pack of the scenes, CACHE/scenes.h5: rooms with the class, depth and normal of each pixel.

Run it from the root of the repository:

    tools/data_python tools/make_scenes_pack.py

It needs nothing from anywhere: scenes are drawn and ray-cast, about five milliseconds each. The same options give the
same bytes. The pack is not committed.
"""

import argparse
from pathlib import Path

from packs.command import command_parser, print_file, run
from packs.task_pack import write_task_pack
from scene_data.suite import SIDE, SIZES, describe, make_scenes_pack


def whole(least: int):
    def parse(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, but it is '{text}'")
        return int(text)

    return parse


def main() -> None:
    parser = command_parser(__doc__)
    for split, size in SIZES.items():
        parser.add_argument(f"--{split}", type=whole(1), default=size, help=f"scenes of {split}; default: %(default)s")
    parser.add_argument("--side", type=whole(8), default=SIDE, help="pixels of an image's side; default: %(default)s")
    parser.add_argument("--output", type=Path, help="default: CACHE/scenes.h5")
    arguments = parser.parse_args()
    pack = make_scenes_pack({split: getattr(arguments, split) for split in SIZES}, arguments.side)
    print("\n".join(describe(pack)))
    output = arguments.output or arguments.cache / "scenes.h5"
    write_task_pack(output, pack)
    print_file(output)


if __name__ == "__main__":
    run(main)
