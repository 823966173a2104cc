import unittest

import numpy as np

import support  # noqa: F401  (finds tools/)
from make_label_spaces_pack import make_label_spaces_pack
from packs.command import DATA
from packs.task_pack import SPLITS, read_task_pack, write_task_pack
from support import FolderTest


class LabelSpacesPackTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = {task.name: task for task in read_task_pack(DATA / "text.h5").tasks}
        cls.pack = make_label_spaces_pack(read_task_pack(DATA / "text.h5"), "0" * 64)
        cls.tasks = {task.name: task for task in cls.pack.tasks}

    def test_label_sets_differ(self):
        sizes = {name: len(task.attributes["classes"]) for name, task in self.tasks.items()}
        self.assertEqual(sizes, {"guard2": 2, "artifact13": 13, "pos4": 4, "noun24": 24})
        self.assertEqual({task.attributes["metric"] for task in self.pack.tasks}, {"macro_f1"})

    def test_the_guard_reads_what_another_classifies(self):
        names = self.source["artifact13"].attributes["classes"]
        for split in SPLITS:
            guard, other = self.tasks["guard2"].splits[split], self.source["artifact13"].splits[split]
            self.assertTrue((guard.arrays["tokens"].values == other.arrays["tokens"].values).all())
            expected = [names[label] in ("weapon", "drug") for label in other.arrays["labels"]]
            self.assertEqual(guard.arrays["labels"].astype(bool).tolist(), expected)
            self.assertTrue(0.1 < np.mean(expected) < 0.3, "unsafe is the rare class")

    def test_is_written_alike(self):
        write_task_pack(self.folder / "a.h5", self.pack)
        write_task_pack(self.folder / "b.h5", self.pack)
        self.assertEqual((self.folder / "a.h5").read_bytes(), (self.folder / "b.h5").read_bytes())


if __name__ == "__main__":
    unittest.main()
