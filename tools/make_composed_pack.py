#!/usr/bin/env python3
"""Makes the task pack of composed scenes, CACHE/composed.h5: emoji in four places, with questions and captions.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_composed_pack.py

It needs the packages of tools/make_pairs_pack.py, about 40 MB, which it downloads once into CACHE/sources. The same
versions give the same bytes. The pack is not committed.
"""

from pathlib import Path

from composed_data.parts import parts_of, read_subgroups
from composed_data.suite import SIZES, describe, make_composed_pack
from packs.command import command_parser, print_file, run
from packs.sources import prepare_sources
from packs.task_pack import write_task_pack
from pair_data.emoji import read_emoji
from pair_data.suite import MANIFEST


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--output", type=Path, help="default: CACHE/composed.h5")
    arguments = parser.parse_args()
    packages = prepare_sources(MANIFEST, arguments.cache)
    parts = parts_of(read_emoji(packages), read_subgroups(packages["unicode-data"]))
    pack = make_composed_pack(parts, SIZES)
    print("\n".join(describe(pack)))
    output = arguments.output or arguments.cache / "composed.h5"
    write_task_pack(output, pack)
    print_file(output)


if __name__ == "__main__":
    run(main)
