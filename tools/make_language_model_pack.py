#!/usr/bin/env python3
"""Makes the task pack of the language models, CACHE/language_model.h5, from pinned packages.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_language_model_pack.py

It downloads about 32 MB once, into CACHE/sources, and checks every SHA256. The same versions give
the same bytes. The tokenizer is that of a pack of texts, which --tokens names. The pack is not
committed: it is made in a minute.
"""

from packs.command import run
from text_data.command import make_pack_in_tokens
from text_data.domains import describe_language_model, make_language_model_pack


def main() -> None:
    make_pack_in_tokens(
        __doc__, "language_model.h5", make_language_model_pack, describe_language_model, committed=False
    )


if __name__ == "__main__":
    run(main)
