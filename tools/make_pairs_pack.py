#!/usr/bin/env python3
"""Makes the task pack of pairs, CACHE/pairs.h5: pictures of emoji with their names in several languages.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_pairs_pack.py

It downloads about 40 MB once, into CACHE/sources, and checks every SHA256. The same versions give the same bytes. The
pack is not committed.
"""

from pathlib import Path

from packs.command import command_parser, print_file, run
from packs.sources import prepare_sources
from packs.task_pack import write_task_pack
from pair_data.emoji import read_emoji
from pair_data.suite import MANIFEST, describe, make_pairs_pack


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--output", type=Path, help="default: CACHE/pairs.h5")
    arguments = parser.parse_args()
    pack = make_pairs_pack(read_emoji(prepare_sources(MANIFEST, arguments.cache)))
    print("\n".join(describe(pack)))
    output = arguments.output or arguments.cache / "pairs.h5"
    write_task_pack(output, pack)
    print_file(output)


if __name__ == "__main__":
    run(main)
