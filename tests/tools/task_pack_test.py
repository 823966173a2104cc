import hashlib
import json
import unittest
from dataclasses import replace

import h5py
import numpy as np

from support import FolderTest
from packs.task_pack import KINDS, SPLITS, Judge, Split, Task, TaskPack, read_task_pack, write_task_pack
from packs.tokens import Choices, Ragged, TokenTable

TOKENS = TokenTable(
    b"{}", hashlib.sha256(b"{}").hexdigest(), (b"<pad>", b"</s>", b" a", b"b", "\u00e9".encode()), frozenset((0, 1)), pad=0, mask=None
)
ARRAYS = {
    "images": np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5),
    "tokens": Ragged.from_rows([[2, 3, 4], [2]], len(TOKENS)),
    "answers": Ragged.from_rows([[3, 1], [4, 3, 1]], len(TOKENS)),
    "choices": Choices(
        Ragged.from_rows([[3], [4, 3], [2], [3, 1], [4]], len(TOKENS)), np.array([0, 2, 5], np.uint32)
    ),
    "labels": np.array([1, 0], np.uint16),
    "values": np.array([0.5, -1], np.float32),
    "map_classes": np.array([[[0] * 5] * 4, [[1] * 5] * 4], np.uint16),
    "map_depth": np.full((2, 4, 5), np.nan, np.float32),
    "map_normals": np.zeros((2, 3, 4, 5), np.float32),
    "styles": np.array([1, 0], np.uint16),
}
ATTRIBUTES = {"classes": ["no", "y\u00e9s"], "answer_start": 0, "answer_end": 1, "longest_answer": 3, "styles": ["bold", "thin"]}
JUDGE = Judge({"model_type": "small_cnn"}, {"classifier.bias": np.zeros(4, np.float32)})


def make_task(kind: str, *inputs: str) -> Task:
    names = (*inputs, *KINDS[kind].targets)
    splits = {
        split: Split({name: ARRAYS[name] for name in names}, np.array([2 * i, 2 * i + 1], np.uint32))
        for i, split in enumerate(SPLITS)
    }
    attributes = {name: ATTRIBUTES[name] for name in KINDS[kind].attributes}
    return Task("_".join((kind, *inputs)), kind, "title", "MIT", "made up", "nothing", "by hand", attributes, splits)


def one_of_each_kind() -> TaskPack:
    tasks = sorted(
        (make_task(kind, *inputs) for kind in KINDS for inputs in KINDS[kind].inputs), key=lambda t: t.name
    )
    return TaskPack("kinds", "1" * 64, tuple(tasks), TOKENS, JUDGE)


def as_lists(value):
    if isinstance(value, Ragged):
        return [row.tolist() for row in value.rows()]
    if isinstance(value, Choices):
        return as_lists(value.rows), value.offsets.tolist()
    return np.nan_to_num(value, nan=-7).tolist()


class TaskPackTest(FolderTest):
    def test_every_kind_comes_back_as_it_was_written(self):
        pack = one_of_each_kind()
        path = self.folder / "pack.h5"
        write_task_pack(path, pack)
        seen = read_task_pack(path)
        self.assertEqual(
            (seen.suite, seen.sources_sha256, seen.tokens), (pack.suite, pack.sources_sha256, pack.tokens)
        )
        self.assertEqual([task.name for task in seen.tasks], [task.name for task in pack.tasks])
        for task, written in zip(seen.tasks, pack.tasks):
            self.assertEqual(replace(task, splits={}), replace(written, splits={}))
            for name, split in task.splits.items():
                self.assertEqual(split.groups.tolist(), written.splits[name].groups.tolist())
                self.assertEqual(set(split.arrays), set(written.splits[name].arrays))
                for array in split.arrays:
                    self.assertEqual(
                        as_lists(split.arrays[array]), as_lists(written.splits[name].arrays[array]), array
                    )

    def test_equal_packs_are_equal_files(self):
        first, second = self.folder / "a.h5", self.folder / "b.h5"
        write_task_pack(first, one_of_each_kind())
        write_task_pack(second, one_of_each_kind())
        self.assertEqual(first.read_bytes(), second.read_bytes())

    def test_files_hold_what_every_reader_of_the_format_accepts(self):
        path = self.folder / "pack.h5"
        write_task_pack(path, one_of_each_kind())
        with h5py.File(path) as file:
            objects = [file]
            file.visititems(lambda _, item: objects.append(item))
        allowed = {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32}
        count = 0
        with h5py.File(path) as file:

            def check(name, item):
                nonlocal count
                for key in item.attrs:
                    text = h5py.check_string_dtype(item.attrs.get_id(key).dtype)
                    self.assertTrue(text is None or text.length is not None, f"{name}.{key}")
                if isinstance(item, h5py.Dataset):
                    count += 1
                    creation = item.id.get_create_plist()
                    filters = {creation.get_filter(i)[0] for i in range(creation.get_nfilters())}
                    self.assertLessEqual(filters, allowed, name)
                    self.assertIn(item.dtype, (np.uint8, np.uint16, np.uint32, np.float32), name)

            file.visititems(check)
        self.assertGreater(count, 50)

    def test_text_is_joined_from_bytes(self):
        self.assertEqual(TOKENS.text([2, 3, 4, 1]), "ab\u00e9")

    def test_what_a_pack_must_not_be_is_refused(self):
        def changed(task, split="train", groups=None, attributes=None, kind=None, **arrays):
            splits = dict(task.splits)
            old = splits[split]
            kept = {k: v for k, v in {**old.arrays, **arrays}.items() if v is not None}
            splits[split] = Split(kept, old.groups if groups is None else np.array(groups, np.uint32))
            return replace(
                task, splits=splits, attributes=attributes or task.attributes, kind=kind or task.kind
            )

        text, answers = make_task("classify", "tokens"), make_task("generate", "tokens")
        image, depth = make_task("classify", "images"), make_task("depth", "images")
        value, quiz = make_task("regress", "tokens"), make_task("multiple_choice", "tokens")
        rows = lambda *lists: Ragged.from_rows(lists, len(TOKENS))
        choices = lambda counts, *lists: Choices(rows(*lists), np.cumsum([0, *counts]).astype(np.uint32))
        cases = {
            "kind must be one of": changed(text, kind="guess"),
            "has the attribute classes": changed(text, attributes={"class": []}),
            "has one of": changed(text, images=ARRAYS["images"]),
            "alike in every split": changed(text, "test", labels=None),
            "a row for each of the 2": changed(text, labels=np.zeros(3, np.uint16)),
            "ids must be less than the vocabulary, 5, but one is 5": changed(text, tokens=rows([5], [2])),
            "every row having one": changed(text, tokens=rows([], [2])),
            "padding, 0, must not be stored": changed(text, tokens=rows([2, 0], [2])),
            "below 2, but one is 2": changed(text, labels=np.array([0, 2], np.uint16)),
            "group 2 is in train and in val": changed(text, groups=[0, 2]),
            "2 to 65535 different names": changed(text, attributes={"classes": ["a", "a"]}),
            "of which the last": changed(answers, answers=rows([3, 3], [3, 1])),
            "2 to 3 tokens": changed(answers, answers=rows([3, 3, 3, 1], [3, 1])),
            "but one is [1]": changed(answers, answers=rows([3, 3, 1], [1])),
            "example 1 has 2 choices, but its label is 2": changed(quiz, labels=np.array([0, 2], np.uint16),
                                                                   choices=choices((2, 2), [3], [4], [3], [4])),
            "every example having two": changed(quiz, choices=choices((3, 1), [3], [4], [2], [4])),
            "/choices: offsets must rise": changed(quiz, choices=choices((2, 2), [3], [], [2], [4])),
            "a choice must have a text, but one has the tokens [1]": changed(
                quiz, choices=choices((2, 2), [3], [1], [2], [4])),
            "must be finite, but one is inf": changed(value, values=np.array([0, np.inf], np.float32)),
            "1 or 3 channels": changed(image, images=np.zeros((2, 2, 4, 5), np.uint8)),
            "with h = 4": changed(image, "val", images=np.zeros((2, 3, 6, 5), np.uint8)),
            "with w = 5": changed(depth, map_depth=np.zeros((2, 4, 6), np.float32)),
            "must be float32": changed(depth, map_depth=np.zeros((2, 4, 5), np.float64)),
            "the splits must be": replace(text, splits={"train": text.splits["train"]}),
            "at least one example": replace(
                text, splits=text.splits | {"val": Split({k: v[:0] if isinstance(v, np.ndarray) else v
                                                          for k, v in text.splits["val"].arrays.items()},
                                                         np.zeros(0, np.uint32))}),
        }  # fmt: skip
        for message, task in cases.items():
            with self.subTest(message), self.assertRaises(ValueError) as raised:
                write_task_pack(self.folder / "refused.h5", TaskPack("kinds", "-", (task,), TOKENS))
            self.assertIn(message, str(raised.exception))
            self.assertIn(task.name, str(raised.exception))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_token_tables_name_their_tokenizer_and_ids_they_have(self):
        cases = {
            "must be the digest": replace(TOKENS, tokenizer_sha256="0" * 64),
            "pad: ids must be less than the vocabulary, 5, but one is 5": replace(TOKENS, pad=5),
            "mask: ids must": replace(TOKENS, mask=-1),
            "separator: ids must": replace(TOKENS, separator=5),
            "special: ids must": replace(TOKENS, special=frozenset((0, 7))),
        }
        for message, tokens in cases.items():
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                write_task_pack(
                    self.folder / "refused.h5", TaskPack("s", "-", (make_task("classify", "tokens"),), tokens)
                )

    def test_tasks_of_a_grid_have_one_head_for_all_domains(self):
        task = make_task("classify", "tokens")
        cells = [
            replace(task, name=domain, attributes={"classes": classes, "task": "answer", "domain": domain})
            for domain, classes in (("en", ["no", "yes"]), ("nl", ["yes", "no"]))
        ]
        same = replace(cells[1], attributes=cells[1].attributes | {"classes": ["no", "yes"]})
        write_task_pack(self.folder / "pack.h5", TaskPack("grid", "-", (cells[0], same), TOKENS))
        seen = [task.attributes for task in read_task_pack(self.folder / "pack.h5").tasks]
        self.assertEqual(seen, [cells[0].attributes, same.attributes])
        with self.assertRaisesRegex(ValueError, "nl: classes must be those of en, which is 'answer' as well"):
            write_task_pack(self.folder / "pack.h5", TaskPack("grid", "-", tuple(cells), TOKENS))

    def test_ignored_classes_of_maps_are_told_by_the_task(self):
        task = make_task("segment", "images")
        maps = np.where(np.arange(40).reshape(2, 4, 5) == 3, 255, 0).astype(np.uint16)
        split = replace(task.splits["train"], arrays=task.splits["train"].arrays | {"map_classes": maps})
        task = replace(task, splits=task.splits | {"train": split})
        with self.assertRaisesRegex(ValueError, "below 2, but one is 255"):
            write_task_pack(self.folder / "a.h5", TaskPack("s", "-", (task,)))
        write_task_pack(
            self.folder / "a.h5",
            TaskPack("s", "-", (replace(task, attributes=task.attributes | {"ignore": 255}),)),
        )

    def test_attributes_may_be_longer_than_an_attribute_of_hdf5(self):
        task = make_task("classify", "images")
        task = replace(task, attributes={"classes": [f"a class with a long name {i}" for i in range(5000)]})
        self.assertGreater(len(json.dumps(task.attributes)), 2**16)
        write_task_pack(self.folder / "a.h5", TaskPack("s", "-", (task,)))
        self.assertEqual(read_task_pack(self.folder / "a.h5").tasks[0].attributes, task.attributes)

    def test_other_files_are_refused(self):
        with h5py.File(self.folder / "old.h5", "w") as file:
            file.attrs["format"], file.attrs["version"] = "fusegrid-task-pack", 1
        with self.assertRaisesRegex(ValueError, "of version 2"):
            read_task_pack(self.folder / "old.h5")


if __name__ == "__main__":
    unittest.main()
