import unittest
from collections import Counter
from itertools import pairwise

import numpy as np

from support import FolderTest, WHOLE, made_up_inputs, made_up_pack
from packs.task_pack import check_task_pack, read_task_pack, write_task_pack
from text_data.candidates import folded
from text_data.domains import make_language_model_pack
from text_data.suite import TASK_LENGTH, make_text_pool
from texts import parts, splits_of_texts

PARTS = {"noun": "n", "verb": "v"}


def corpus_texts(tokens) -> set[str]:
    """What bases are pretrained on."""
    pool = make_text_pool(made_up_inputs(), tokens)
    corpus = next(source for source in pool.sources if source.name == "corpus")
    return {folded(parts(row.tolist(), pool.tokens)[0]) for row in corpus.tokens.rows()}


class LanguageModelPackTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pack = make_language_model_pack(made_up_inputs(), made_up_pack("whole").tokens, WHOLE.caps)
        cls.tasks = {task.name: task for task in cls.pack.tasks}

    def domains(self):
        return [task for task in self.pack.tasks if task.kind == "language_model"]

    def questions(self):
        return [task for task in self.pack.tasks if task.kind == "multiple_choice"]

    def asked(self, split) -> list[tuple[str, list[str], int]]:
        """Beginning, endings, and which belongs to it."""
        choices = split.arrays["choices"]
        rows = choices.rows.rows()
        text = lambda row: self.pack.tokens.text(row.tolist())
        return [
            (text(row), [text(each) for each in rows[first:end]], int(label))
            for row, (first, end), label in zip(
                split.arrays["tokens"].rows(), pairwise(choices.offsets.tolist()), split.arrays["labels"], strict=True
            )
        ]

    def texts(self, task: str) -> list[str]:
        return [
            parts(row.tolist(), self.pack.tokens)[0]
            for split in self.tasks[task].splits.values()
            for row in split.arrays["tokens"].rows()
        ]

    def test_has_six_domains_whose_rows_are_their_own_labels(self):
        domains = ["emoji", "example", "name", "noun", "phones", "verb"]
        self.assertEqual([task.name for task in self.domains()], domains)
        self.assertEqual([task.name for task in self.questions()], [f"{name}_end" for name in domains])
        for task in self.domains():
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
        for task in self.domains():
            groups = [set(split.groups.tolist()) for split in task.splits.values()]
            self.assertEqual(len(set.union(*groups)), sum(map(len, groups)), task.name)
            rows = [tuple(row) for split in task.splits.values() for row in split.arrays["tokens"].rows()]
            self.assertEqual(len(set(rows)), len(rows), task.name)

    def test_bases_have_seen_no_text_of_val_or_test(self):
        seen = corpus_texts(self.pack.tokens)
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
                others = written.splits[name].arrays
                self.assertEqual(split.arrays.keys(), others.keys())
                self.assertEqual(split.arrays["tokens"].values.tolist(), others["tokens"].values.tolist())
                if choices := split.arrays.get("choices"):
                    self.assertEqual(choices.offsets.tolist(), others["choices"].offsets.tolist())
                    self.assertEqual(choices.rows.values.tolist(), others["choices"].rows.values.tolist())
                    self.assertEqual(split.arrays["labels"].tolist(), others["labels"].tolist())

    def test_a_question_is_about_a_text_of_its_domain_and_split(self):
        pretrained = corpus_texts(self.pack.tokens)
        splits_of = splits_of_texts(self.pack)
        for task in self.questions():
            of_domain = set(map(folded, self.texts(task.attributes["domain"])))
            for name, split in task.splits.items():
                for beginning, endings, label in self.asked(split):
                    text = folded(f"{beginning} {endings[label]}")
                    self.assertIn(text, of_domain)
                    self.assertEqual(splits_of[text], {name})
                    self.assertTrue(name == "train" or text not in pretrained)

    def test_wrong_endings_are_of_other_texts_of_the_same_split_and_as_long(self):
        for task in self.questions():
            for name, split in task.splits.items():
                asked = self.asked(split)
                right = {(beginning, endings[label]) for beginning, endings, label in asked}
                of_split = {ending for _, ending in right}
                for beginning, endings, label in asked:
                    self.assertEqual(len(set(endings)), 4, f"{task.name}/{name}")
                    self.assertLessEqual(set(endings), of_split)
                    self.assertEqual([(beginning, each) in right for each in endings].count(True), 1)
            lengths = np.diff(task.splits["train"].arrays["choices"].rows.offsets.astype(int)).reshape(-1, 4)
            self.assertLess((lengths.max(1) - lengths.min(1)).mean(), 2.5, task.name)

    def test_no_place_and_no_ending_gives_the_answer_away(self):
        checked = 0
        for task in self.questions():
            split = task.splits["train"]
            shares = np.bincount(split.arrays["labels"], minlength=4) / len(split)
            self.assertGreater(shares.min(), 0.15, task.name)
            asked = self.asked(split)
            right = Counter(endings[label] for _, endings, label in asked)
            self.assertEqual(set(right.values()), {1})
            if len({beginning for beginning, _, _ in asked}) > 0.9 * len(asked):  # not made up alike
                wrong = Counter(ending for _, endings, _ in asked for ending in endings) - right
                self.assertGreater(len(wrong), 0.9 * len(right))
                self.assertLess(max(wrong.values()), 10)
                checked += 1
        self.assertGreater(checked, 2)


if __name__ == "__main__":
    unittest.main()
