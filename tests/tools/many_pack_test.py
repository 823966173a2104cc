import unittest
from dataclasses import replace

import numpy as np

import support  # noqa: F401  (finds tools/)
from many_data.suite import VARIANTS, make_many_pack, on_map, small, turned
from packs.command import DATA
from packs.task_pack import SPLITS, read_task_pack, write_task_pack
from support import FolderTest


class LooksTest(unittest.TestCase):
    def test_a_quarter_to_the_left(self):
        image = np.array([[[[1, 2], [3, 4]]]], np.uint8)
        self.assertEqual(turned(image, image).tolist(), [[[[2, 4], [1, 3]]]])

    def test_small_images_are_means_of_four(self):
        image = np.zeros((1, 1, 4, 4), np.uint8)
        image[0, 0, :2, :2] = [[10, 11], [12, 13]]
        expected = np.zeros((4, 4), int)
        expected[1, 1] = 12  # 11.5, rounded up
        self.assertEqual(small(image, image)[0, 0].tolist(), expected.tolist())

    def test_maps_lie_behind_images(self):
        images = np.full((3, 1, 2, 2), 60, np.uint8)
        maps = np.stack([np.full((3, 2, 2), 200, np.uint8), np.full((3, 2, 2), 20, np.uint8)])
        seen = on_map(images, maps)
        self.assertEqual(seen.shape, (3, 3, 2, 2))
        self.assertEqual(seen[:, 0, 0, 0].tolist(), [100, 60, 100])


class ManyPackTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = read_task_pack(DATA / "embedded.h5")
        cls.pack = make_many_pack(cls.source, "0" * 64)
        cls.tasks = {task.name: task for task in cls.pack.tasks}

    def test_thirty_tasks(self):
        self.assertEqual(len(self.pack.tasks), 30)
        self.assertEqual(len(VARIANTS), 22)

    def test_examples_stay_on_their_side(self):
        for task in self.source.tasks:
            sides = {split: set(task.splits[split].groups.tolist()) for split in SPLITS}
            for name in self.tasks:
                if name.startswith(task.name.rstrip("0123456789") + "_"):
                    for split in SPLITS:
                        self.assertLessEqual(set(self.tasks[name].splits[split].groups.tolist()), sides[split], name)

    def test_labels_follow_their_classes(self):
        shoes = self.tasks["fashion_kind4"]
        source = next(task for task in self.source.tasks if task.name == "fashion")
        labels = source.splits["test"].arrays["labels"][:600]
        kinds = shoes.splits["test"].arrays["labels"]
        for old, new in ((0, 0), (6, 0), (1, 1), (9, 2), (8, 3)):
            self.assertTrue((kinds[labels == old] == new).all())
        self.assertLess(int(self.tasks["upper_half13"].splits["train"].arrays["labels"].max()), 13)

    def test_the_same_bytes_every_time(self):
        """Of two tasks, which says as much as thirty in a tenth of the time."""
        for name, pack in (("one.h5", self.pack), ("two.h5", make_many_pack(self.source, "0" * 64))):
            chosen = tuple(task for task in pack.tasks if task.name in ("mnist_small", "upper_half13"))
            write_task_pack(self.folder / name, replace(pack, tasks=chosen))
        self.assertEqual((self.folder / "one.h5").read_bytes(), (self.folder / "two.h5").read_bytes())


if __name__ == "__main__":
    unittest.main()
