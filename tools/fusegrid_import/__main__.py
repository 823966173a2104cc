#!/usr/bin/env python3
"""python3 tools/fusegrid_import: see command.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fusegrid_import.command import main
from packs.command import run

if __name__ == "__main__":
    run(main)
