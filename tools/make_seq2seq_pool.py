#!/usr/bin/env python3
"""Makes the pool of texts and questions on which the bases of the text-to-text suite are pretrained.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_seq2seq_pool.py

It holds train groups only, in the tokens of the pack that --pack names, and a few train rows of
each of the pack's tasks. The pool is not committed: it is made in a minute.
"""

from pathlib import Path

from packs.command import DATA, command_parser, print_file, run
from packs.pretraining_pool import describe_texts, write_pretraining_pool
from packs.sources import prepare_sources
from packs.task_pack import read_task_pack
from text_data.seq2seq import SUITE, make_seq2seq_pool
from text_data.suite import MANIFEST
from text_data.tasks import read_inputs


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--pack", type=Path, default=DATA / "seq2seq.h5", help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="default: CACHE/seq2seq_pool.h5")
    arguments = parser.parse_args()
    pack = read_task_pack(arguments.pack)
    if pack.suite != SUITE:
        raise ValueError(f"--pack must name a pack of {SUITE}, but {arguments.pack} is one of {pack.suite}")
    pool = make_seq2seq_pool(read_inputs(prepare_sources(MANIFEST, arguments.cache)), pack)
    print("\n".join(describe_texts(pool)))
    output = arguments.output or arguments.cache / "seq2seq_pool.h5"
    write_pretraining_pool(output, pool)
    print_file(output)


if __name__ == "__main__":
    run(main)
