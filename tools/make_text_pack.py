#!/usr/bin/env python3
"""Makes a text task pack from pinned packages: data/text.h5 (small) or text_medium.h5 (medium).

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_text_pack.py small
    tools/data_python tools/make_text_pack.py medium

It downloads about 32 MB once, into CACHE/sources, and checks every SHA256. The same versions give
the same bytes. The examples of the small pack are among those of the medium one, in the same splits.
The medium pack is not committed: it is made in a minute.
"""

from pathlib import Path

from packs.command import DATA, command_parser, print_file, run
from packs.recompress import recompress
from packs.sources import prepare_sources
from packs.task_pack import write_task_pack
from text_data.suite import MANIFEST, SCALES, describe, make_text_pack
from text_data.tasks import read_inputs



def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("scale", choices=SCALES)
    parser.add_argument(
        "--output", type=Path, help=f"default: {DATA / 'text.h5'} (small), CACHE/text_medium.h5 (medium)"
    )
    arguments = parser.parse_args()
    defaults = {"small": DATA / "text.h5", "medium": arguments.cache / "text_medium.h5"}
    inputs = read_inputs(prepare_sources(MANIFEST, arguments.cache))
    pack = make_text_pack(inputs, SCALES[arguments.scale])
    print("\n".join(describe(pack)))
    output = arguments.output or defaults[arguments.scale]
    write_task_pack(output, pack)
    if arguments.scale == "small":
        recompress(output)
    print_file(output)


if __name__ == "__main__":
    run(main)
