"""What the tests of the importer share."""

import contextlib
import io
import json
import os
import subprocess
import unittest
import unittest.mock

from support import FolderTest
from fusegrid_import.command import main

PROGRAM = os.environ.get("FUSEGRID")  # CTest names it
needs_program = unittest.skipUnless(PROGRAM, "FUSEGRID does not name the program")


class ImportTest(FolderTest):
    """Runs commands in a folder with a hub cache `hub` and a suite."""

    def setUp(self):
        super().setUp()
        self.enterContext(unittest.mock.patch.dict(os.environ, {"HF_HUB_CACHE": str(self.folder / "no cache")}))

    def run_command(self, command, suite, *options, program=None):
        """What was said while OUT was made."""
        path = self.folder / "suite.json"
        path.write_text(json.dumps(suite))
        where = ["--models", str(self.folder / "hub")] if (self.folder / "hub").is_dir() else []
        zoo = ["--fusegrid", program] if program else ["--no-zoo"]
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
            main([command, str(path), "--out", str(self.folder / "zoo/made"), *where, *zoo, *options])
        return said.getvalue()

    def refuses(self, expected, command, suite, *options):
        with self.assertRaisesRegex(ValueError, expected):
            self.run_command(command, suite, *options)

    def out(self, name):
        return self.folder / "zoo/made" / name

    def verify(self):
        """That the program finds the zoo sound."""
        shown = subprocess.run([PROGRAM, "zoo", "verify", self.out("")], capture_output=True, text=True)
        self.assertIn("is sound", shown.stdout, shown.stderr)

    def board(self, lines):
        """What is reported of a job of these lines on the zoo."""
        job = self.folder / "job.cfg"
        job.write_text(f"zoo = {self.out('')}\n{lines}")
        command = [PROGRAM, "run", job, "--results", self.folder / "results", "--quiet", "--inline", "--device", "cpu"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        reported = subprocess.run([PROGRAM, "report", self.folder / "results"], capture_output=True, text=True)
        self.assertIn("Simple Average", reported.stdout, reported.stderr)
        return reported.stdout
