#!/usr/bin/env python3
"""Makes the pool of images on which the base model of the embedded suite is pretrained.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_pretraining_pool.py

The pool is not committed: it holds drawings under copyleft licences and can be made in a minute.
"""

from pathlib import Path

from embedded_data.pack import MANIFEST, write_pool
from embedded_data.pool import make_sources
from embedded_data.task import load_inputs
from packs.command import command_parser, print_file, run
from packs.sources import prepare_sources


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--output", type=Path, help="default: CACHE/pretraining_pool.h5")
    arguments = parser.parse_args()
    sources = []
    for source in make_sources(load_inputs(prepare_sources(MANIFEST, arguments.cache))):
        print(f"{source.name}: {source.classes} classes, {len(source)} images", flush=True)
        sources.append(source)
    output = arguments.output or arguments.cache / "pretraining_pool.h5"
    write_pool(output, sources)
    print_file(output)


if __name__ == "__main__":
    run(main)
