#!/usr/bin/env python3
"""Makes the pool of images on which the base model of the embedded suite is pretrained.

Run it from the root of the repository with the same environment as tools/make_task_pack.py:

    /tmp/data-env/bin/python tools/make_pretraining_pool.py

The pool is not committed: it holds drawings under copyleft licences and can be made in a minute.
"""

import argparse
import hashlib
import sys
from pathlib import Path

from embedded_data.pack import write_pool
from embedded_data.pool import make_sources
from embedded_data.sources import SourceError, default_cache, prepare_sources
from embedded_data.task import load_inputs


def main() -> int:
    arguments = _parse_arguments()
    output = arguments.output or arguments.cache / "pretraining_pool.h5"
    try:
        packages = prepare_sources(arguments.cache)
    except SourceError as error:
        print(f"make_pretraining_pool: {error}", file=sys.stderr)
        return 1
    sources = []
    for source in make_sources(load_inputs(packages)):
        count = len(source.labels)
        print(f"{source.name}: {source.class_count} classes, {count} images", flush=True)
        sources.append(source)
    write_pool(output, sources)
    content = output.read_bytes()
    print(f"{output}: {len(content)} bytes, SHA256 {hashlib.sha256(content).hexdigest()}")
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="default: CACHE/pretraining_pool.h5")
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        help="folder of the downloads (default: $FUSEGRID_CACHE or ~/.cache/fusegrid)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
