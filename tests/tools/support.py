"""What the tests of tools/ share."""

import sys
import tempfile
import unittest
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from text_data.seq2seq import make_seq2seq_pack, make_seq2seq_pool
from text_data.suite import SCALES, Scale, make_text_pack
from text_data.tasks import Inputs, read_inputs
from text_sources import make_packages

VOCABULARY = 600
SMALL = Scale("small", SCALES["small"].tasks, {"train": 60, "val": 30, "test": 40})
# Everything there is, so that what could leak is there.
WHOLE = Scale("whole", SCALES["medium"].tasks, dict.fromkeys(("train", "val", "test"), 10**6))


class FolderTest(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)


@cache
def made_up_inputs() -> Inputs:
    with tempfile.TemporaryDirectory() as folder:
        return read_inputs(make_packages(Path(folder)))


@cache
def made_up_seq2seq_pack():
    """Of all there is."""
    return make_seq2seq_pack(made_up_inputs(), made_up_pack("whole").tokens, WHOLE.caps)


@cache
def made_up_seq2seq_pool():
    return make_seq2seq_pool(made_up_inputs(), made_up_seq2seq_pack())


@cache
def made_up_pack(scale_name: str):
    return make_text_pack(made_up_inputs(), {"small": SMALL, "whole": WHOLE}[scale_name], VOCABULARY)
