#!/usr/bin/env python3
"""Makes the task pack of the text-to-text suite, data/seq2seq.h5, from pinned packages.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_seq2seq_pack.py

It downloads about 32 MB once, into CACHE/sources, and checks every SHA256. The same versions give
the same bytes. The tokenizer is that of a pack of texts, which --tokens names.
"""

from pathlib import Path

from packs.command import DATA, command_parser, print_file, run
from packs.sources import prepare_sources
from packs.task_pack import read_tokens, write_task_pack
from text_data.seq2seq import describe_seq2seq, make_seq2seq_pack
from text_data.suite import MANIFEST
from text_data.tasks import read_inputs


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--tokens", type=Path, default=DATA / "text.h5", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=DATA / "seq2seq.h5", help="default: %(default)s")
    arguments = parser.parse_args()
    inputs = read_inputs(prepare_sources(MANIFEST, arguments.cache))
    pack = make_seq2seq_pack(inputs, read_tokens(arguments.tokens))
    print("\n".join(describe_seq2seq(pack)))
    write_task_pack(arguments.output, pack)
    print_file(arguments.output)


if __name__ == "__main__":
    run(main)
