"""What the commands that make files have in common."""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from .sources import SourceError

DATA = Path(__file__).resolve().parents[2] / "data"


def command_parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=_default_cache(),
        help="folder of the downloads (default: $FUSEGRID_CACHE, or fusegrid in $XDG_CACHE_HOME or ~/.cache)",
    )
    return parser


def _default_cache() -> Path:
    if folder := os.environ.get("FUSEGRID_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fusegrid"


def print_file(path: Path) -> None:
    content = path.read_bytes()
    print(f"{path}: {len(content)} bytes, SHA256 {hashlib.sha256(content).hexdigest()}")


def run(main: Callable[[], None]) -> None:
    """Runs a command; what the user can mend becomes one line and exit status 1."""
    try:
        main()
    except (SourceError, OSError, ValueError) as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")
