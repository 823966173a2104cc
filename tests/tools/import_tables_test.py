import io
import json
import tarfile
import unittest

from support import FolderTest
from import_world import cache, encoded, parquet, picture
from fusegrid_import.hub import Roots
from fusegrid_import.tables import open_splits

ROWS = [{"sentence": f"text {i}", "label": i % 2} for i in range(5)]
NAMES = ["no", "yes"]


class TablesTest(FolderTest):
    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def rows(self, split="train", config=None, columns=("sentence", "label")):
        table = open_splits(self.folder, config)[split]
        rows = list(table.rows(list(columns)))
        self.assertEqual(table.count, len(rows))
        return rows

    def test_parquet_wherever_it_lies(self):
        for name in ("data/train-00000-of-00001.parquet", "test/0000.parquet", "validation.parquet"):
            self.write(name, parquet(ROWS, NAMES))
        splits = open_splits(self.folder, None)
        self.assertEqual(set(splits), {"train", "test", "validation"})
        for split, table in splits.items():
            self.assertEqual(self.rows(split), ROWS)
            self.assertEqual(table.class_names("label"), NAMES)

    def test_arrow_as_stream_and_as_file(self):
        import pyarrow

        table = pyarrow.Table.from_pylist(ROWS)
        for split, make in (("train", pyarrow.ipc.new_stream), ("test", pyarrow.ipc.new_file)):
            content = io.BytesIO()
            with make(content, table.schema) as writer:
                writer.write_table(table)
            self.write(f"{split}/data-00000-of-00001.arrow", content.getvalue())
            info = {"features": {"label": {"names": NAMES}}}
            self.write(f"{split}/dataset_info.json", json.dumps(info).encode())
        self.assertEqual(self.rows("train"), ROWS)
        self.assertEqual(self.rows("test"), ROWS)
        self.assertEqual(open_splits(self.folder, None)["train"].class_names("label"), NAMES)

    def test_tables_of_text(self):
        self.write("train.csv", b"sentence,label\n" + b"".join(b"text %d,%d\n" % (i, i % 2) for i in range(5)))
        self.assertEqual(self.rows(), [row | {"label": str(row["label"])} for row in ROWS])
        self.write("train.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in ROWS))
        self.assertEqual(self.rows(), ROWS)
        self.write("train.jsonl", b'{"sentence": "text", "label": 0}\n{"sentence": "text"}\n')
        with self.assertRaisesRegex(ValueError, "every row must have the column 'label'"):
            self.rows()
        self.write("train.jsonl", b"{\n")
        with self.assertRaisesRegex(ValueError, "train.jsonl, line 1: must be a JSON object"):
            self.rows()

    def test_members_of_a_tar_file_are_rows(self):
        content = io.BytesIO()
        pictures = [encoded(picture(f"{i}")) for i in range(3)]
        with tarfile.open(fileobj=content, mode="w") as tar:
            for i, image in enumerate(pictures):
                for name, member in ((f"{i}.cls", b"%d\n" % i), (f"{i}.jpg", image)):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(member)
                    tar.addfile(entry, io.BytesIO(member))
        self.write("train/0.tar", content.getvalue())
        found = self.rows(columns=("jpg", "cls"))
        self.assertEqual(found, [{"jpg": {"bytes": image}, "cls": str(i)} for i, image in enumerate(pictures)])

    def test_folders_of_images_without_splits(self):
        for i in range(4):
            self.write(f"{('owl', 'ant')[i % 2]}/{i}.png", encoded(picture(f"{i}")))
        found = self.rows("all", columns=("image", "label"))
        self.assertEqual([row["label"] for row in found], [0, 0, 1, 1])
        self.write("0.png", b"")
        with self.assertRaisesRegex(ValueError, "images must be in .*/SPLIT/CLASS"):
            open_splits(self.folder, None)

    def test_what_cannot_be_read_is_refused(self):
        with self.assertRaisesRegex(ValueError, "must hold a data set"):
            open_splits(self.folder, None)
        for config in ("full", "cropped"):
            self.write(f"{config}/train-00000-of-00001.parquet", parquet(ROWS))
        with self.assertRaisesRegex(ValueError, "the split 'train' is in several folders .cropped, full."):
            open_splits(self.folder, None)
        self.assertEqual(self.rows(config="full"), ROWS)
        with self.assertRaisesRegex(ValueError, "must have the folder 'small'"):
            open_splits(self.folder, "small")
        self.write("full/train-00000-of-00001.parquet", parquet(ROWS)[:-9])
        with self.assertRaisesRegex(ValueError, "must be a whole parquet file"):
            open_splits(self.folder, "full")

    def test_snapshots_without_a_name_must_be_one(self):
        cache(self.folder, "models", "a/b", {"config.json": b"{}"})
        repository = self.folder / "models--a--b"
        self.assertEqual(Roots([self.folder]).model("a/b", self.folder).name, "1" * 40)
        (repository / "refs/main").unlink()
        self.assertEqual(Roots([self.folder]).model("a/b", self.folder).name, "1" * 40)
        (repository / "snapshots/2").mkdir()
        with self.assertRaisesRegex(ValueError, "refs/main must name one of the snapshots"):
            Roots([self.folder]).model("a/b", self.folder)


if __name__ == "__main__":
    unittest.main()
