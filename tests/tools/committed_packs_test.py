import hashlib
import subprocess
import unittest

import numpy as np

from support import ROOT
from embedded_data.pack import MANIFEST as EMBEDDED_MANIFEST
from packs.sources import manifest_sha256
from packs.task_pack import SPLITS, read_task_pack
from text_data.grid import CAPS as GRID_CAPS, LANGUAGES, SUITE as GRID_SUITE
from text_data.seq2seq import ANSWER_LENGTH, CAPS, SOURCE_LENGTH, SUITE
from text_data.suite import MANIFEST, SCALES, TASK_LENGTH
from texts import splits_of_questions, splits_of_texts

TEXT_PACK = ROOT / "data/text.h5"
SEQ2SEQ_PACK = ROOT / "data/seq2seq.h5"
GRID_PACK = ROOT / "data/text_grid.h5"
MOST_BYTES = 48 * 2**20  # of all files of the repository


class TextPackTest(unittest.TestCase):
    def setUp(self):
        self.pack = read_task_pack(TEXT_PACK)

    def test_no_text_stands_in_two_splits(self):
        found = splits_of_texts(self.pack)
        self.assertGreater(len(found), 15000)
        self.assertEqual({text: splits for text, splits in found.items() if len(splits) > 1}, {})

    def test_no_row_stands_twice(self):
        for task in self.pack.tasks:
            rows = [tuple(row.tolist()) for s in task.splits.values() for row in s.arrays["tokens"].rows()]
            self.assertEqual(len(set(rows)), len(rows), task.name)
            self.assertLessEqual(max(map(len, rows)), TASK_LENGTH)

    def test_is_what_the_scale_says(self):
        scale = SCALES["small"]
        self.assertEqual(self.pack.suite, scale.suite)
        self.assertEqual({task.name for task in self.pack.tasks}, set(scale.tasks))
        self.assertEqual(self.pack.sources_sha256, manifest_sha256(MANIFEST))
        for task in self.pack.tasks:
            for name in SPLITS:
                labels = task.splits[name].arrays["labels"]
                self.assertLessEqual(len(labels), scale.caps[name])
                self.assertEqual(len(np.unique(labels)), len(task.attributes["classes"]), f"{task.name}/{name}")

    def test_brings_its_tokenizer(self):
        tokens = self.pack.tokens
        self.assertEqual(hashlib.sha256(tokens.tokenizer).hexdigest(), tokens.tokenizer_sha256)


class Seq2SeqPackTest(unittest.TestCase):
    def setUp(self):
        self.pack = read_task_pack(SEQ2SEQ_PACK)

    def test_no_text_is_asked_in_two_splits_and_no_row_stands_twice(self):
        found = splits_of_questions(self.pack)
        self.assertGreater(len(found), 36000)
        self.assertEqual({text: splits for text, splits in found.items() if len(splits) > 1}, {})
        for task in self.pack.tasks:
            rows = [tuple(row) for split in task.splits.values() for row in split.arrays["tokens"].rows()]
            self.assertEqual(len(set(rows)), len(rows), task.name)

    def test_is_what_its_makers_say(self):
        self.assertEqual(self.pack.suite, SUITE)
        self.assertEqual(self.pack.sources_sha256, manifest_sha256(MANIFEST))
        self.assertEqual(self.pack.tokens, read_task_pack(TEXT_PACK).tokens)
        self.assertEqual(len(self.pack.tasks), 8)
        self.assertLess(SEQ2SEQ_PACK.stat().st_size, 2**20)
        for task in self.pack.tasks:
            longest = {"tokens": 0, "answers": 0}
            for name, split in task.splits.items():
                self.assertLessEqual(len(split), CAPS[name])
                for array in longest:
                    longest[array] = max(longest[array], *map(len, split.arrays[array].rows()))
            self.assertEqual(task.attributes["longest_answer"], longest["answers"], task.name)
            self.assertLessEqual(longest["tokens"], SOURCE_LENGTH, task.name)
            self.assertLessEqual(longest["answers"], ANSWER_LENGTH, task.name)


class GridPackTest(unittest.TestCase):
    def setUp(self):
        self.pack = read_task_pack(GRID_PACK)

    def test_no_text_stands_in_two_splits(self):
        found = splits_of_texts(self.pack)
        self.assertGreater(len(found), 30000)
        self.assertEqual({text: splits for text, splits in found.items() if len(splits) > 1}, {})

    def test_is_what_its_makers_say(self):
        self.assertEqual(self.pack.suite, GRID_SUITE)
        self.assertEqual(self.pack.sources_sha256, manifest_sha256(MANIFEST))
        self.assertEqual(self.pack.tokens, read_task_pack(TEXT_PACK).tokens)
        self.assertLess(GRID_PACK.stat().st_size, 2**20)
        cells = [(task.attributes["task"], task.attributes["domain"]) for task in self.pack.tasks]
        rows = ("continent", "emoji", "type")
        self.assertEqual(cells, [(row, language) for row in rows for language in sorted(LANGUAGES)])
        for task in self.pack.tasks:
            for name, split in task.splits.items():
                self.assertLessEqual(len(split), GRID_CAPS[name])
                self.assertLessEqual(max(map(len, split.arrays["tokens"].rows())), TASK_LENGTH)
                self.assertEqual(len(np.unique(split.arrays["labels"])), len(task.attributes["classes"]), task.name)


class EmbeddedPackTest(unittest.TestCase):
    def test_is_what_its_makers_say(self):
        pack = read_task_pack(ROOT / "data/embedded.h5")
        self.assertEqual(pack.suite, "embedded8")
        self.assertEqual(pack.sources_sha256, manifest_sha256(EMBEDDED_MANIFEST))
        self.assertEqual(len(pack.tasks), 8)
        for task in pack.tasks:
            for split in task.splits.values():
                self.assertEqual(split.arrays["images"].shape[2:], (28, 28))
                self.assertLessEqual(len(split), 4000)


class RepositoryTest(unittest.TestCase):
    def test_all_files_together_stay_small(self):
        if not (ROOT / ".git").exists():
            self.skipTest("a copy without git")
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True).stdout
        files = [ROOT / name for name in listed.decode().split("\0") if name]
        total = sum(file.lstat().st_size for file in files if file.exists())
        self.assertLess(total, MOST_BYTES)


if __name__ == "__main__":
    unittest.main()
