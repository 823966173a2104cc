"""Whether check_environment.py finds variables that the table lacks, and rows that nothing reads."""

import pathlib
import tempfile
import unittest

import check_environment

TABLE = "| variable | read by |\n|---|---|\n| `FUSEGRID_ZOOS`, `HOME` | program |\n\n`FUSEGRID_OTHER` is no row.\n"


class CheckEnvironment(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name in ("src", "tests", "cmake", "tools", "docs"):
            (self.root / name).mkdir()
        self.write("docs/hpc.md", TABLE)
        self.write("CMakeLists.txt", "")
        self.write("fusegrid", 'cd "$HOME"\n')
        self.write("src/zoo.cpp", 'getenv("FUSEGRID_ZOOS");')

    def write(self, name, text):
        (self.root / name).write_text(text)

    def test_accepts_a_table_that_has_all(self):
        self.assertEqual(check_environment.faults(self.root), [])

    def test_finds_what_the_table_lacks(self):
        for name, text in {
            "src/a.cpp": 'getenv("NEW_NAME")',
            "src/b.h": 'for (auto* v : {"PMI_NEW"}) getenv(v);',
            "tests/c.cpp": 'std::getenv("NEW_NAME")',
            "cmake/d.cmake": "if($ENV{NEW_NAME})",
            "tools/e.py": 'os.environ.get("NEW_NAME")',
            "fusegrid": 'cd "$HOME" "${NEW_NAME:-}"',
        }.items():
            self.setUp()
            self.write(name, text)
            self.assertEqual(len(check_environment.faults(self.root)), 1, name)
            self.assertIn(f"{name} reads", check_environment.faults(self.root)[0])

    def test_finds_rows_that_nothing_reads(self):
        self.write("src/zoo.cpp", "")
        self.assertEqual(
            check_environment.faults(self.root), ["docs/hpc.md has the variable FUSEGRID_ZOOS, which nothing reads"]
        )


if __name__ == "__main__":
    unittest.main()
