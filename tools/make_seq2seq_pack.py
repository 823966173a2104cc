#!/usr/bin/env python3
"""Makes the task pack of the text-to-text suite, data/seq2seq.h5, from pinned packages.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_seq2seq_pack.py

It downloads about 32 MB once, into CACHE/sources, and checks every SHA256. The same versions give
the same bytes. The tokenizer is that of a pack of texts, which --tokens names.
"""

from packs.command import run
from text_data.command import make_pack_in_tokens
from text_data.seq2seq import describe_seq2seq, make_seq2seq_pack


def main() -> None:
    make_pack_in_tokens(__doc__, "seq2seq.h5", make_seq2seq_pack, describe_seq2seq)


if __name__ == "__main__":
    run(main)
