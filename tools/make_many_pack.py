#!/usr/bin/env python3
"""Makes the task pack of thirty tasks, CACHE/embedded30.h5, of the eight in data/embedded.h5.

Run it from the root of the repository:

    tools/data_python tools/make_many_pack.py

Each further task shows the images of one of the eight otherwise (turned, dark on light, small, on maps) or asks
something else about them. The same source gives the same bytes. The pack is not committed.
"""

import hashlib
from pathlib import Path

from many_data.suite import describe, digest_of_scripts, make_many_pack
from packs.command import DATA, command_parser, print_file, run
from packs.task_pack import read_task_pack, write_task_pack


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--output", type=Path, help="default: CACHE/embedded30.h5")
    arguments = parser.parse_args()
    source = DATA / "embedded.h5"
    made_of = hashlib.sha256(source.read_bytes()).hexdigest() + digest_of_scripts()
    pack = make_many_pack(read_task_pack(source), hashlib.sha256(made_of.encode()).hexdigest())
    print("\n".join(describe(pack)))
    output = arguments.output or arguments.cache / "embedded30.h5"
    write_task_pack(output, pack)
    print_file(output)


if __name__ == "__main__":
    run(main)
