#!/usr/bin/env python3
"""Makes the task pack of the cross-lingual grid, data/text_grid.h5, from pinned packages.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_grid_pack.py

It downloads about 32 MB once, into CACHE/sources, and checks every SHA256. The same versions give
the same bytes. The tokenizer is that of a pack of texts, which --tokens names.
"""

from packs.command import run
from text_data.command import make_pack_in_tokens
from text_data.grid import make_grid_pack
from text_data.suite import describe


def main() -> None:
    make_pack_in_tokens(__doc__, "text_grid.h5", make_grid_pack, describe)


if __name__ == "__main__":
    run(main)
