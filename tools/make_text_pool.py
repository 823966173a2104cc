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
from packs.task_pack import read_tokens
from packs.pretraining_pool import describe_texts, write_pretraining_pool
from text_data.suite import MANIFEST, make_text_pool
from text_data.tasks import read_inputs


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--pack", type=Path, default=DATA / "text.h5", help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="default: CACHE/text_pool.h5")
    arguments = parser.parse_args()
    inputs = read_inputs(prepare_sources(MANIFEST, arguments.cache))
    pool = make_text_pool(inputs, read_tokens(arguments.pack))
    print("\n".join(describe_texts(pool)))
    output = arguments.output or arguments.cache / "text_pool.h5"
    write_pretraining_pool(output, pool)
    print_file(output)


if __name__ == "__main__":
    run(main)
