#!/usr/bin/env python3
"""Makes the pool of texts on which the bases of the text suites are pretrained.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_text_pool.py

It holds texts of the train groups only, in the tokens of the pack: --pack names it, and packs of
all scales share one tokenizer. The pool is not committed: it is made in a minute.
"""

from pathlib import Path

from packs.command import DATA, command_parser, print_file, run
from packs.sources import prepare_sources
from packs.task_pack import read_task_pack
from packs.pretraining_pool import write_pretraining_pool
from text_data.suite import MANIFEST, make_text_pool
from text_data.tasks import read_inputs


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--pack", type=Path, default=DATA / "text.h5", help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="default: CACHE/text_pool.h5")
    arguments = parser.parse_args()
    tokens = read_task_pack(arguments.pack).tokens
    if tokens is None:
        raise ValueError(f"--pack must name a pack of texts, but {arguments.pack} has no tokens")
    pool = make_text_pool(read_inputs(prepare_sources(MANIFEST, arguments.cache)), tokens)
    for source in pool.sources:
        print(f"{source.name}: {source.kind}, share {source.share:g}, {len(source.tokens)} rows, "
              f"{len(source.tokens.values)} tokens")  # fmt: skip
    output = arguments.output or arguments.cache / "text_pool.h5"
    write_pretraining_pool(output, pool)
    print_file(output)


if __name__ == "__main__":
    run(main)
