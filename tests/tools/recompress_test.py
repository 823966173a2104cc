import unittest

import h5py
import numpy as np

from support import FolderTest
from packs.hdf5 import make_group, open_file, set_format, set_real, set_text, write_array, write_file
from packs.recompress import recompress

# Of each element size, of several chunks and of one that is not full, with odd numbers of compressed bytes among them.
ARRAYS = {
    "images": np.random.default_rng(1).integers(0, 9, (300, 3, 5, 5), np.uint8) ** 2,
    "labels": np.random.default_rng(2).integers(0, 9, 3_001, np.uint16),
    "groups": np.repeat(np.arange(333, dtype=np.uint32), 7),
    "values": np.linspace(-1, 1, 1000, dtype=np.float32),
    "one": np.zeros(1, np.uint8),
    "none": np.zeros((1, 5), np.uint16),
}


class RecompressTest(FolderTest):
    def write(self, name):
        def fill(root):
            set_format(root, "some-format", 3)
            group = make_group(root, "group")
            set_text(group, "title", "words")
            set_real(group, "number", 0.1)
            for array, values in ARRAYS.items():
                write_array(group, array, values)
            group.create_dataset("plain", data=ARRAYS["images"], track_times=False)

        path = self.folder / name
        write_file(path, fill)
        return path

    def test_content_is_the_same_in_fewer_bytes(self):
        path = self.write("pack.h5")
        before = path.stat().st_size
        recompress(path)
        self.assertLess(path.stat().st_size, before)
        with open_file(path, "some-format", 3) as file:
            group = file["group"]
            self.assertEqual(list(group.attrs), ["number", "title"])
            self.assertEqual((group.attrs["title"], group.attrs["number"]), (b"words", 0.1))
            for name, values in ARRAYS.items():  # h5py compares the checksums
                with self.subTest(name):
                    self.assertEqual(group[name].dtype, values.dtype)
                    np.testing.assert_array_equal(group[name][()], values)
                    self.assertTrue(group[name].fletcher32 and group[name].shuffle)
            np.testing.assert_array_equal(group["plain"][()], ARRAYS["images"])

    def test_the_same_content_gives_the_same_bytes(self):
        first, second = self.write("a.h5"), self.write("b.h5")
        recompress(first)
        recompress(second)
        once = first.read_bytes()
        self.assertEqual(once, second.read_bytes())
        recompress(first)
        self.assertEqual(once, first.read_bytes())

    def test_a_changed_byte_is_found(self):
        path = self.write("pack.h5")
        recompress(path)
        with h5py.File(path) as file:
            place = file["group/images"].id.get_chunk_info(1)
        content = bytearray(path.read_bytes())
        content[place.byte_offset + place.size // 2] ^= 1
        path.write_bytes(content)
        with h5py.File(path) as file, self.assertRaises(OSError):
            file["group/images"][()]


if __name__ == "__main__":
    unittest.main()
