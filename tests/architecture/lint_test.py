"""Tests of tools/lint.py: what its own checks find, without the tools that it calls."""

import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import lint  # noqa: E402


class Prose(unittest.TestCase):
    def faults(self, text):
        return [line for line, _ in lint.prose_faults("page.md", text)]

    def test_a_sentence_has_its_line(self):
        self.assertEqual(self.faults("One sentence.\nAnother one.\n- A list. With two.\nIs it? Yes.\n"), [3, 4])

    def test_what_looks_like_an_end_is_none(self):
        self.assertEqual(self.faults("See e.g. Table 2 of Ilharco et al. For it.\nVersion 1.5 has `a. B` and main.cpp There.\n"
                                     "1. First\n"), [])

    def test_long_lines(self):
        long = "word " * 30
        self.assertEqual(self.faults(f"{long}\n| {long} |\n[link](x) {long}\n```\n{long}\n```\n    {long}\n{long}\n"), [1, 8])

    def test_comments(self):
        long = "word " * 30
        found = [line for line, _ in lint.comment_faults("a.cpp", f"// {long}\nauto a = \"{long}\";\nint b;  // {long}\n// short\n")]
        self.assertEqual(found, [1, 3])
        self.assertEqual([line for line, _ in lint.comment_faults("a.py", f"# {long}\nx = '#include {long}'\n")], [1])


class Tidy(unittest.TestCase):
    def test_places_in_a_batch_are_those_of_its_files(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(lint, "ROOT", pathlib.Path(folder)):
            for name, lines in (("a.cpp", 3), ("b.cpp", 5)):
                (pathlib.Path(folder) / name).write_text("x\n" * lines)
            (pathlib.Path(folder) / "out").mkdir()
            batch = lint.Batch(["a.cpp", "b.cpp"], pathlib.Path(folder) / "out")
            self.assertEqual(batch.path.read_text(), "x\n" * 8)
            self.assertEqual(batch.translate(f"{batch.path}:3:1: error\n{batch.path}:4:7: note\nother.h:4:1\n"),
                             "a.cpp:3:1: error\nb.cpp:1:7: note\nother.h:4:1\n")


class Check(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        for patch in (mock.patch.object(lint, "cache_folder", lambda: pathlib.Path(self.folder.name)),
                      mock.patch.object(lint, "print", create=True)):
            self.said = patch.start()
            self.addCleanup(patch.stop)

    def test_a_clean_verdict_is_remembered_and_a_finding_is_not(self):
        self.assertTrue(lint.check({"good": ("key-1", ["true"], str)}))
        self.assertFalse(lint.check({"good": ("key-1", ["false"], str), "bad": ("key-2", ["false"], str)}))
        self.assertTrue(lint.check({"good": ("key-1", ["false"], str)}))

    def test_it_begins_nothing_after_its_time_and_says_so(self):
        self.assertTrue(lint.check({"late": ("key-3", ["false"], str)}, seconds=-1))
        self.assertIn("not looked at", self.said.call_args.args[0])
        self.assertFalse(lint.check({"late": ("key-3", ["false"], str)}))


if __name__ == "__main__":
    unittest.main()
