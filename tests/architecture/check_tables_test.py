"""Whether check_tables.py finds a number that was changed in a copy of the committed pages."""

import pathlib
import shutil
import tempfile
import unittest

import check_tables

SOURCE = pathlib.Path(__file__).resolve().parents[2]


class CheckTables(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        shutil.copy(SOURCE / "README.md", self.root)
        shutil.copytree(SOURCE / "results/reference", self.root / "results/reference")

    def faults_with(self, page, old, new):
        path = self.root / page
        text = path.read_text()
        self.assertEqual(text.count(old), 1, old)
        path.write_text(text.replace(old, new))
        return check_tables.faults(self.root)

    def test_accepts_what_is_committed(self):
        self.assertEqual(check_tables.faults(self.root), [])

    def test_finds_a_changed_task_in_the_readme(self):
        found = self.faults_with("README.md", "|  90.8 |     57.8 |      55.9 |", "|  90.8 |     57.8 |      65.9 |")
        self.assertEqual(len(found), 2, found)  # the average and Norm.

    def test_finds_a_changed_average_in_the_readme(self):
        found = self.faults_with("README.md", "**60.22**", "**60.24**")
        self.assertEqual(len(found), 1, found)
        self.assertIn("Layer-wise AdaMerging: its average is not that of seed 0", found[0])

    def test_finds_a_changed_number_in_the_reference_page(self):
        found = self.faults_with("results/reference/README.md", "| 69.26 | 79.42 |\n| RegMean", "| 69.27 | 79.42 |\n| RegMean")
        self.assertEqual(len(found), 1, found)
        self.assertIn("Task Arithmetic, medium", found[0])


if __name__ == "__main__":
    unittest.main()
