import unittest

from support import FolderTest, WHOLE, made_up_inputs, made_up_pack
from packs.task_pack import check_task_pack, read_task_pack, write_task_pack
from text_data.candidates import folded
from text_data.domains import make_language_model_pack
from text_data.suite import TASK_LENGTH, make_text_pool
from texts import parts, splits_of_texts

PARTS = {"noun": "n", "verb": "v"}


class LanguageModelPackTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pack = make_language_model_pack(made_up_inputs(), made_up_pack("whole").tokens, WHOLE.caps)
        cls.tasks = {task.name: task for task in cls.pack.tasks}

    def texts(self, task: str) -> list[str]:
        return [
            parts(row.tolist(), self.pack.tokens)[0]
            for split in self.tasks[task].splits.values()
            for row in split.arrays["tokens"].rows()
        ]

    def test_has_six_domains_whose_rows_are_their_own_labels(self):
        self.assertEqual(list(self.tasks), ["emoji", "example", "name", "noun", "phones", "verb"])
        for task in self.pack.tasks:
            self.assertEqual(task.kind, "language_model")
            for name, split in task.splits.items():
                self.assertEqual(list(split.arrays), ["tokens"])
                self.assertGreater(len(split), 0, f"{task.name}/{name}")
                self.assertLessEqual(max(map(len, split.arrays["tokens"].rows())), TASK_LENGTH)

    def test_texts_are_those_of_their_domain(self):
        words = {word.spelled: " ".join(word.phones) for word in made_up_inputs().words}
        for text in self.texts("phones"):
            spelled, phones = text.split(" / ")
            self.assertEqual(words[spelled], phones)
        wordnet = made_up_inputs().wordnet
        first_words = {part: {s.name for s in wordnet.defined if s.key[0] == part} for part in "nv"}
        for task, part in PARTS.items():
            for text in self.texts(task):
                self.assertIn(text.split(": ")[0].split(", ")[0], first_words[part])
        english = set(made_up_inputs().cldr.english.names.values())
        self.assertEqual(english & set(self.texts("name")), set())

    def test_no_text_stands_in_two_splits(self):
        found = splits_of_texts(self.pack)
        self.assertGreater(len(found), 3000)
        self.assertEqual({text: splits for text, splits in found.items() if len(splits) > 1}, {})

    def test_no_group_is_in_two_splits_and_no_row_twice(self):
        for task in self.pack.tasks:
            groups = [set(split.groups.tolist()) for split in task.splits.values()]
            self.assertEqual(len(set.union(*groups)), sum(map(len, groups)), task.name)
            rows = [tuple(row) for split in task.splits.values() for row in split.arrays["tokens"].rows()]
            self.assertEqual(len(set(rows)), len(rows), task.name)

    def test_bases_have_seen_no_text_of_val_or_test(self):
        pool = make_text_pool(made_up_inputs(), self.pack.tokens)
        corpus = next(source for source in pool.sources if source.name == "corpus")
        seen = {folded(parts(row.tolist(), pool.tokens)[0]) for row in corpus.tokens.rows()}
        held_out = {text for text, splits in splits_of_texts(self.pack).items() if splits != {"train"}}
        self.assertGreater(len(held_out), 800)
        self.assertEqual(seen & held_out, set())

    def test_is_a_pack_that_comes_back_as_it_was_written(self):
        check_task_pack(self.pack)
        write_task_pack(self.folder / "pack.h5", self.pack)
        seen = read_task_pack(self.folder / "pack.h5")
        self.assertEqual(seen.tokens, self.pack.tokens)
        for task, written in zip(seen.tasks, self.pack.tasks, strict=True):
            self.assertEqual((task.name, task.kind, task.attributes), (written.name, written.kind, written.attributes))
            for name, split in task.splits.items():
                other = written.splits[name].arrays["tokens"]
                self.assertEqual(split.arrays["tokens"].values.tolist(), other.values.tolist())


if __name__ == "__main__":
    unittest.main()
