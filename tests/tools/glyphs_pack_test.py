import unittest

import numpy as np

import support  # noqa: F401  (finds tools/)
from glyph_data.judge import load_judge
from glyph_data.styles import SIDE, STYLES, _extreme, _reduced
from glyph_data.suite import LETTERS, ROWS, Drawing, make_glyphs_pack, split_of
from packs.task_pack import read_task_pack, write_task_pack
from support import FolderTest

CAPS = {"train": 4, "val": 1, "test": 2}


def drawings(kins: int = 60) -> list[Drawing]:
    """Every letter of each kin as noise of its own."""
    rng = np.random.RandomState(0)
    return [
        Drawing(f"kin{kin}", letter, {style: rng.randint(0, 256, (SIDE, SIDE)).astype(np.uint8) for style in STYLES})
        for kin in range(kins)
        for letter in LETTERS
    ]


class StylesTest(unittest.TestCase):
    def test_the_extreme_of_a_disc_grows_and_shrinks_a_figure(self):
        ink = np.zeros((64, 64), np.int64)
        ink[20:40, 20:40] = 255
        self.assertEqual((_extreme(ink, 2, np.maximum) > 0).sum(), 24 * 24 - 4 * 3)
        self.assertEqual((_extreme(ink, 3, np.minimum) > 0).sum(), 14 * 14)

    def test_pictures_are_means_of_squares(self):
        ink = np.zeros((64, 64), np.int64)
        ink[0, 0] = 160
        self.assertEqual(_reduced(ink)[0, 0], 10)
        self.assertEqual(_reduced(ink).sum(), 10)


class PackTest(FolderTest):
    def test_cells_are_a_grid_whose_designs_are_in_one_split(self):
        pack = make_glyphs_pack(drawings(), load_judge(len(LETTERS)), CAPS)
        self.assertEqual(len(pack.tasks), len(ROWS) * len(STYLES))
        for task in pack.tasks:
            self.assertEqual(task.name, f"{task.attributes['domain']}_{task.attributes['task']}")
            for name, split in task.splits.items():
                counts = np.bincount(split.arrays["labels"], minlength=len(LETTERS))
                self.assertEqual(set(counts.tolist()), {0, CAPS[name]})
                self.assertEqual(set(split.arrays["styles"]), {STYLES.index(task.attributes["domain"])})

    def test_a_design_has_one_split(self):
        splits = [split_of(f"kin{kin}") for kin in range(500)]
        shares = {split: splits.count(split) / 500 for split in ("train", "val", "test")}
        self.assertLess(abs(shares["test"] - 0.2), 0.06)
        self.assertLess(abs(shares["val"] - 0.12), 0.06)

    def test_the_file_holds_the_judge(self):
        judge = load_judge(len(LETTERS))
        self.assertEqual(judge.tensors["classifier.weight"].shape, (len(LETTERS) + len(STYLES), 48))
        pack = make_glyphs_pack(drawings(), judge, CAPS)
        path = self.folder / "glyphs.h5"
        write_task_pack(path, pack)
        first = path.read_bytes()
        read = read_task_pack(path)
        self.assertEqual(read.judge.config, judge.config)
        for name, tensor in judge.tensors.items():
            self.assertTrue(np.array_equal(read.judge.tensors[name], tensor), name)
        write_task_pack(path, make_glyphs_pack(drawings(), judge, CAPS))
        self.assertEqual(path.read_bytes(), first)

    def test_a_pack_without_a_judge_is_refused(self):
        with self.assertRaisesRegex(ValueError, "has a judge"):
            write_task_pack(self.folder / "none.h5", make_glyphs_pack(drawings(), None, CAPS))


if __name__ == "__main__":
    unittest.main()
