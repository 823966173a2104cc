import unittest
from dataclasses import replace

import h5py
import numpy as np

from support import FolderTest
from packs.pretraining_pool import (
    ImageSource,
    PretrainingPool,
    TextSource,
    read_pretraining_pool,
    write_pretraining_pool,
)
from packs.tokens import Ragged

MASKS = ImageSource(
    "lower", "mask", 0.25, 2, np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 1, 2, 4), np.array([1, 0, 1], np.uint16)
)
MAPS = ImageSource("maps", "rgb", 0.5, 3, np.zeros((2, 3, 5, 5), np.uint8), np.array([0, 2], np.uint16))


class ImagePoolTest(FolderTest):
    def test_comes_back_as_it_was_written(self):
        path = self.folder / "pool.h5"
        write_pretraining_pool(path, PretrainingPool("1" * 64, (MASKS, MAPS)))
        seen = read_pretraining_pool(path)
        self.assertEqual((seen.sources_sha256, seen.tokens), ("1" * 64, None))
        for source, written in zip(seen.sources, (MASKS, MAPS), strict=True):
            for field in ("name", "kind", "share", "classes"):
                self.assertEqual(getattr(source, field), getattr(written, field))
            np.testing.assert_array_equal(source.images, written.images)
            np.testing.assert_array_equal(source.labels, written.labels)
        with h5py.File(path) as file:
            self.assertEqual(file.attrs["version"], 2)
            self.assertEqual(file["sources/lower"].attrs["examples"], 3)

    def test_what_a_pool_must_not_be_is_refused(self):
        rows = Ragged.from_rows([[1, 2]], 5)
        cases = {
            "at least one source": (),
            "kind must be one of": (replace(MASKS, kind="gray"),),
            r"must be uint8 \[3, 3, height, width\]": (replace(MASKS, kind="rgb"),),
            "with an image for each label": (replace(MASKS, labels=MASKS.labels[:2]),),
            "2 to 65535 classes": (replace(MASKS, classes=1),),
            "must be uint16 below 2": (replace(MASKS, labels=np.array([0, 1, 2], np.uint16)),),
            "add up to at most 1": (MASKS, replace(MAPS, share=0.8)),
            "has a table of them": (TextSource("corpus", 1.0, rows),),
        }
        for message, sources in cases.items():
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                write_pretraining_pool(self.folder / "refused.h5", PretrainingPool("-", sources))
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
