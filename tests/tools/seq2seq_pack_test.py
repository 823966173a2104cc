import unittest
from dataclasses import replace

from support import FolderTest, made_up_inputs, made_up_pack, made_up_seq2seq_pack
from packs.task_pack import check_task_pack
from text_data.candidates import folded
from text_data.cmudict import spelled
from text_data.selection import Example, choose
from text_data.seq2seq import ANSWER_LENGTH, SOURCE_LENGTH, make_seq2seq_pack
from text_sources import AMBIGUOUS_FORM, FORM_OF_TEST, LONG_FORM
from texts import asked_in, splits_of_questions


class Seq2SeqPackTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.pack = made_up_seq2seq_pack()
        self.tasks = {task.name: task for task in self.pack.tasks}

    def test_no_text_stands_in_two_splits(self):
        found = splits_of_questions(self.pack)
        self.assertGreater(len(found), 3000)
        self.assertEqual({text: splits for text, splits in found.items() if len(splits) > 1}, {})

    def test_no_group_is_in_two_splits_and_no_row_twice(self):
        for task in self.pack.tasks:
            groups = [set(split.groups.tolist()) for split in task.splits.values()]
            self.assertEqual(len(set.union(*groups)), sum(map(len, groups)), task.name)
            rows = [tuple(row) for split in task.splits.values() for row in split.arrays["tokens"].rows()]
            self.assertEqual(len(set(rows)), len(rows), task.name)

    def test_rows_begin_with_the_task_and_end_as_answers_do(self):
        end = self.pack.tokens.table.index(b"</s>")
        for task in self.pack.tasks:
            self.assertEqual(task.attributes["answer_start"], self.pack.tokens.pad)
            self.assertEqual(task.attributes["answer_end"], end)
            longest = 0
            for split in task.splits.values():
                for name, most in (("tokens", SOURCE_LENGTH), ("answers", ANSWER_LENGTH)):
                    for row in split.arrays[name].rows():
                        special = [token for token in row.tolist() if token in self.pack.tokens.special]
                        self.assertEqual((special, int(row[-1])), ([end], end))
                        self.assertLessEqual(len(row), most)
                        longest = max(longest, len(row) if name == "answers" else 0)
                for row in split.arrays["tokens"].rows():
                    self.assertTrue(self.pack.tokens.text(row.tolist()).startswith(f"{task.name}: "))
            self.assertEqual(task.attributes["longest_answer"], longest)

    def test_answers_name_the_classes_of_the_classification_tasks(self):
        titles = {"es": "Langes enen", "sl": "Langsl enen"}
        names = {
            "noun24": ("noun", lambda name: name),
            "artifact13": ("artifact", lambda name: name.replace("_", " ")),
            "country20": ("country", lambda name: name),
            "emoji9": ("emoji", lambda name: name),
            "lang16": ("language", lambda name: titles.get(name, f"Lang{name} enen")),
        }
        text_pack = made_up_pack("whole")
        for task in text_pack.tasks:
            if task.name in names:
                name, words = names[task.name]
                answers = asked_in(self.tasks[name], self.pack.tokens)
                checked = 0
                for split in task.splits.values():
                    for row, label in zip(split.arrays["tokens"].rows(), split.arrays["labels"]):
                        answer = answers.get(text_pack.tokens.text(row.tolist()))
                        if answer is not None:  # long texts are cut elsewhere
                            self.assertEqual(answer, words(task.attributes["classes"][label]))
                            checked += 1
                self.assertGreater(checked, len(answers) / 2, name)

    def test_words_have_their_phones_base_forms_and_nouns(self):
        answers = {name: asked_in(self.tasks[name], self.pack.tokens) for name in ("g2p", "lemma", "nominal")}
        words = {word.spelled: " ".join(word.phones) for word in made_up_inputs().words}
        self.assertGreater(len(answers["g2p"]), 400)
        self.assertLessEqual(answers["g2p"].items(), words.items())
        self.assertGreater(len(answers["lemma"]), 15)
        for form, word in answers["lemma"].items():
            if form != spelled(FORM_OF_TEST[0]):
                self.assertEqual(word.replace(" ", ""), form.replace(" ", "")[:4] + "ium")
        self.assertGreater(len(answers["nominal"]), 15)
        for adjective, noun in answers["nominal"].items():  # the first of two
            stem = adjective.replace(" ", "").removesuffix("ous")
            self.assertEqual(noun.replace(" ", ""), stem + "osity")

    def test_what_two_tasks_ask_in_different_splits_is_tested_on(self):
        text = spelled(FORM_OF_TEST[0])
        self.assertEqual(splits_of_questions(self.pack)[text], {"test"})
        self.assertNotIn(text, asked_in(self.tasks["g2p"], self.pack.tokens))
        self.assertEqual(asked_in(self.tasks["lemma"], self.pack.tokens)[text], spelled(FORM_OF_TEST[1]))

    def test_forms_of_two_words_and_answers_that_are_too_long_are_left_out(self):
        asked = splits_of_questions(self.pack)
        exceptions = dict(made_up_inputs().wordnet.exceptions)
        for form in (AMBIGUOUS_FORM, LONG_FORM[0], "same", "kept_apart"):
            self.assertIn(form, exceptions)
            self.assertNotIn(folded(spelled(form)), asked)

    def test_smaller_caps_choose_from_larger(self):
        caps = {"train": 50, "val": 24, "test": 30}
        small = make_seq2seq_pack(made_up_inputs(), self.pack.tokens, caps)
        for task in small.tasks:
            for name, split in task.splits.items():
                self.assertLessEqual(len(split), caps[name])
                whole = set(map(tuple, self.tasks[task.name].splits[name].arrays["tokens"].rows()))
                self.assertLessEqual(set(map(tuple, split.arrays["tokens"].rows())), whole)

    def test_open_answers_need_no_share_of_each(self):
        examples = [Example((i,), i, f"g{i}") for i in range(50)]
        chosen = choose("t", "train", None, 20, examples)
        self.assertEqual(len({example.row for example in chosen}), 20)
        self.assertEqual(len(choose("t", "train", None, 80, examples)), 50)

    def test_the_checks_of_packs_are_passed(self):
        check_task_pack(self.pack)
        task = self.pack.tasks[0]
        with self.assertRaisesRegex(ValueError, "an answer has 2 to 2 tokens"):
            shorter = replace(task, attributes=task.attributes | {"longest_answer": 2})
            check_task_pack(replace(self.pack, tasks=(shorter,)))


if __name__ == "__main__":
    unittest.main()
