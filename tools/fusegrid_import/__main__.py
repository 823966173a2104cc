#!/usr/bin/env python3
"""Makes a zoo, with its task pack and heads, from models and data sets that are on this machine.

    tools/data_python tools/fusegrid_import COMMAND SUITE.json --out FOLDER [options]

COMMAND is clip (image classification with CLIP's vision towers), text (text classification), seq2seq (text to text) or
language_model (texts, and questions with choices). SUITE.json says where models and data are: docs/your_models.md.
Nothing is downloaded, weights stay where they are, and what is there already is not made again.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fusegrid_import.command import main
from packs.command import run

if __name__ == "__main__":
    run(main)
