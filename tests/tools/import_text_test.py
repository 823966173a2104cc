import json
import shutil
import unittest

import numpy as np
from safetensors.numpy import load_file, save_file

import import_text_world as world
from import_support import PROGRAM, ImportTest, needs_program
from import_world import cache, parquet_files, random
from packs.task_pack import read_task_pack


class TextImportTest(ImportTest):
    def setUp(self):
        super().setUp()
        world.write_reviews(self.folder / "reviews")
        world.write_pairs(self.folder / "pairs")

    def write(self, name, files):
        world.write_files(self.folder / name, files)

    def task(self, name):
        pack = read_task_pack(self.out("pack.h5"))
        return next(task for task in pack.tasks if task.name == name), pack.tokens

    def texts(self, name, split, array="tokens"):
        task, tokens = self.task(name)
        return [tokens.text(row.tolist()) for row in task.splits[split].arrays[array].rows()]


class ClassifierTest(TextImportTest):
    def setUp(self):
        super().setUp()
        self.write("bert", world.bert_files(self.folder, "base"))
        self.write("bert_reviews", world.bert_files(self.folder, "reviews", world.SENTIMENTS))
        self.suite = {
            "suite": "mine", "base": "bert",
            "tasks": {
                "reviews": {"data": "reviews", "expert": "bert_reviews", "text": "{sentence}"},
                "pairs": {
                    "data": "pairs", "head": "bert_reviews", "text": "{first} the {second}",
                    "classes": ["same", "other"],
                },
            },
        }  # fmt: skip

    def refuses_text(self, expected, *options):
        self.refuses(expected, "text", self.suite, *options)

    def test_rows_are_the_texts_with_their_labels(self):
        self.run_command("text", self.suite)
        task, tokens = self.task("reviews")
        self.assertEqual(
            {name: len(split) for name, split in task.splits.items()}, {"train": 24, "val": 10, "test": 12}
        )
        expected = world.sentences("reviews/test", 12)
        test = task.splits["test"]
        numbers = test.groups - test.groups.min()
        self.assertEqual(self.texts("reviews", "test"), [expected[i] for i in numbers])
        self.assertEqual(test.arrays["labels"].tolist(), [i % 2 for i in numbers])
        first = [tokens.table[i] for i in test.arrays["tokens"].row(0)]
        self.assertEqual((first[0], first[-1]), (b"[CLS]", b"[SEP]"))
        self.assertEqual(task.attributes["classes"], world.SENTIMENTS)

    def test_one_table_is_dealt_to_three_splits(self):
        self.run_command("text", self.suite)
        task, _ = self.task("pairs")
        self.assertEqual(
            {name: len(split) for name, split in task.splits.items()}, {"train": 32, "val": 4, "test": 4}
        )
        groups = np.concatenate([split.groups for split in task.splits.values()])
        self.assertEqual(sorted(groups), list(range(40)))
        for split in task.splits.values():
            self.assertEqual(split.arrays["labels"].tolist(), [group % 2 for group in split.groups])

    def test_heads_are_pooler_and_classifier_of_each_expert(self):
        self.run_command("text", self.suite)
        heads, expert = (
            load_file(path)
            for path in (self.out("heads.safetensors"), self.folder / "bert_reviews/model.safetensors")
        )
        np.testing.assert_array_equal(heads["reviews.hidden.weight"], expert["bert.pooler.dense.weight"])
        np.testing.assert_array_equal(heads["reviews.bias"], expert["classifier.bias"])
        np.testing.assert_array_equal(heads["pairs.weight"], expert["classifier.weight"])

    def test_long_texts_are_cut(self):
        self.suite["longest"] = 5
        self.run_command("text", self.suite)
        task, _ = self.task("reviews")
        self.assertEqual(max(map(len, task.splits["test"].arrays["tokens"].rows())), 5)
        self.suite["longest"] = 65
        self.refuses_text("longest must be at most 64")

    def test_gpt2_reads_pairs_without_a_separator(self):
        hub = self.folder / "hub"
        hub.mkdir()
        cache(hub, "models", "gpt2", world.gpt2_files(self.folder, "base"))
        cache(hub, "models", "me/gpt2_pairs", world.gpt2_files(self.folder, "pairs", 2))
        entry = {"data": "pairs", "text": ["{first}", "{second}"], "classes": ["same", "other"]}
        suite = {"suite": "glue", "base": "gpt2", "expert": "me/gpt2_{task}", "tasks": {"pairs": entry}}
        self.run_command("text", suite, *(["--fusegrid", PROGRAM] if PROGRAM else []), program=PROGRAM)
        firsts, seconds = world.sentences("first", 40), world.sentences("second", 40)
        task, _ = self.task("pairs")
        test = task.splits["test"]
        self.assertEqual(self.texts("pairs", "test"), [firsts[i] + seconds[i] for i in test.groups])
        if PROGRAM:
            self.assertEqual(json.loads(self.out("zoo.json").read_text())["pooling"], "last")

    @needs_program
    def test_the_program_makes_a_zoo_of_it(self):
        self.run_command("text", self.suite, program=PROGRAM)
        self.verify()

    def test_labels_in_another_order_are_refused(self):
        rows = {split: [{"sentence": text, "label": i % 2} for i, text in enumerate(world.sentences(split, 12))]
                for split in ("train", "test")}  # fmt: skip
        world.write_files(self.folder / "hub/named/data", {
            name.removeprefix("data/"): content for name, content in parquet_files(rows, world.SENTIMENTS[::-1]).items()
        })  # fmt: skip
        self.suite["tasks"]["reviews"]["data"] = "named"
        self.refuses_text("in another order: label 0 is 'positive' and not 'negative'")
        self.suite["tasks"]["reviews"]["classes"] = world.SENTIMENTS + ["neutral"]
        self.refuses_text("has 2 classes, but the data set, or 'classes' of the suite, has 3")

    def test_an_expert_without_a_head_is_refused(self):
        self.write("headless", world.bert_files(self.folder, "headless"))
        self.suite["tasks"]["reviews"]["expert"] = "headless"
        self.refuses_text("must have a classification head, but has no classifier.weight")

    def test_bert_tells_the_texts_of_a_pair_apart(self):
        self.run_command("text", self.suite)
        self.assertIsNone(self.task("reviews")[1].separator)
        self.suite["tasks"]["pairs"]["text"] = ["{first}", "{second}"]
        self.run_command("text", self.suite, program=PROGRAM)
        task, tokens = self.task("pairs")
        self.assertEqual(tokens.table[tokens.separator], b"[SEP]")
        row = [tokens.table[i].strip().decode() for i in task.splits["test"].arrays["tokens"].row(0)]
        number = task.splits["test"].groups[0]
        texts = [world.sentences(name, 40)[number] for name in ("first", "second")]
        self.assertEqual(" ".join(row), f"[CLS] {texts[0]} [SEP] {texts[1]} [SEP]")
        if PROGRAM:
            self.verify()

    def test_types_that_do_not_follow_from_the_separator_are_refused(self):
        self.suite["tasks"]["pairs"]["text"] = ["{first} [SEP] bad", "{second}"]
        self.refuses_text(r"behind the first \['\[SEP\]'\] of a row, and no others, must be of type 1")
        self.suite["tasks"]["pairs"]["text"] = ["{first}", "{second}"]
        for folder in ("bert", "bert_reviews"):
            path = self.folder / folder / "tokenizer.json"
            path.write_text(path.read_text().replace('"type_id": 1', '"type_id": 0'))
            path.write_text(path.read_text().replace('"type_id":1', '"type_id":0'))
        self.refuses_text("the tokenizer must give the second text of a pair the type 1")

    def test_another_tokenizer_is_refused(self):
        (self.folder / "bert_reviews/tokenizer.json").write_text(world.unigram().to_str())
        self.refuses_text("must have the vocabulary of")
        (self.folder / "bert/tokenizer.json").unlink()
        self.refuses_text("tokenizer.json must be there, but is missing")

    def test_templates_name_columns(self):
        self.suite["tasks"]["reviews"]["text"] = "{text}"
        self.refuses_text("must have the column 'text', but has sentence, label")
        self.suite["tasks"]["reviews"]["text"] = "sentence"
        self.refuses_text("'text' must name a column in braces")


class Seq2SeqTest(TextImportTest):
    def setUp(self):
        super().setUp()
        self.write("t5", world.t5_files(self.folder, "base"))
        self.write("t5_full", world.t5_files(self.folder, "full"))
        self.write("t5_lora", world.t5_adapter_files(self.folder, "lora", "google/t5"))
        review = {"data": "reviews", "text": "film: {sentence}", "answers": {"0": "bad", "1": "very good"}}
        self.suite = {
            "suite": "mine", "base": "t5",
            "tasks": {
                "reviews": review | {"expert": "t5_full"},
                "pairs": {"data": "pairs", "expert": "t5_lora", "text": "{first} {second}", "answer": "{label}"},
            },
        }  # fmt: skip

    def test_answers_follow_the_template(self):
        self.run_command("seq2seq", self.suite)
        task, _ = self.task("reviews")
        labels = [i % 2 for i in task.splits["test"].groups - task.splits["test"].groups.min()]
        self.assertEqual(self.texts("reviews", "test", "answers"), [("bad", "very good")[label] for label in labels])
        self.assertTrue(all(text.startswith("film: ") for text in self.texts("reviews", "test")))
        self.assertEqual(task.attributes, {"answer_start": 0, "answer_end": 1, "longest_answer": 3})
        self.assertEqual(set(self.texts("pairs", "train", "answers")), {"same", "other"})

    @needs_program
    def test_the_program_makes_a_zoo_of_it(self):
        self.run_command("seq2seq", self.suite, program=PROGRAM)
        self.verify()

    def test_an_adapter_of_another_base_is_refused(self):
        shutil.rmtree(self.folder / "t5_lora")
        self.write("t5_lora", world.t5_adapter_files(self.folder, "lora", "google/t5-large"))
        self.refuses("is an adapter of 'google/t5-large', but the base is 't5'", "seq2seq", self.suite)
        self.suite["adapter_base"] = "t5-large"
        self.run_command("seq2seq", self.suite)

    def test_a_label_without_an_answer_is_refused(self):
        del self.suite["tasks"]["reviews"]["answers"]["1"]
        self.refuses("must have the label '1', but has 0", "seq2seq", self.suite)


class LanguageModelTest(TextImportTest):
    def setUp(self):
        super().setUp()
        self.write("llama", world.llama_files(self.folder, "base"))
        self.write("llama_reviews", world.llama_files(self.folder, "reviews"))
        self.choices = ["good", "very bad", "the plot"]
        self.write_questions("ABC")
        self.suite = {
            "suite": "mine", "base": "llama",
            "tasks": {
                "reviews": {"data": "reviews", "expert": "llama_reviews", "text": "{sentence}"},
                "asked": {
                    "data": "questions", "prompt": "was {question}", "choices": "{choices}",
                    "columns": {"label": "answer"},
                },
            },
        }  # fmt: skip

    def write_questions(self, answers, choices=None):
        rows = [{"question": text, "choices": choices or self.choices, "answer": answers[i % 3]}
                for i, text in enumerate(world.sentences("questions", 30))]  # fmt: skip
        world.write_lines(self.folder / "questions/train.jsonl", rows)

    def test_choices_stand_behind_their_prompt(self):
        self.run_command("language_model", self.suite)
        task, tokens = self.task("asked")
        test = task.splits["test"]
        self.assertEqual(test.arrays["labels"].tolist(), [group % 3 for group in test.groups])
        choices = test.arrays["choices"]
        found = [tokens.table[i] for i in choices.rows.row(1)]
        self.assertEqual(b"".join(found), b" very bad")
        self.assertEqual(choices.counts().tolist(), [3, 3, 3])
        self.assertEqual(test.arrays["tokens"].row(0)[0], 0)  # <s>
        self.assertEqual(self.task("reviews")[0].kind, "language_model")

    def test_choices_may_have_names_of_their_own(self):
        self.write_questions("123", {"text": self.choices, "label": ["1", "2", "3"]})
        self.run_command("language_model", self.suite)
        test = self.task("asked")[0].splits["test"]
        self.assertEqual(test.arrays["labels"].tolist(), [group % 3 for group in test.groups])

    @needs_program
    def test_the_program_makes_a_zoo_of_it(self):
        self.run_command("language_model", self.suite, program=PROGRAM)
        self.verify()
        self.assertEqual([e["name"] for e in json.loads(self.out("zoo.json").read_text())["experts"]], ["reviews"])

    def test_wrong_questions_are_refused(self):
        self.write_questions("ABD")
        self.refuses(
            "a label must be one of 0, 1, 2, or the letter of a choice, but one is 'D'", "language_model", self.suite
        )
        self.write_questions("ABC", ["good"])
        self.refuses("must have two choices or more", "language_model", self.suite)
        self.write_questions("ABC")
        self.suite["longest"] = 5
        self.refuses("a prompt and its choice or answer must have at most 5 tokens", "language_model", self.suite)


class PromptsWithAnswersTest(TextImportTest):
    """Generation by causal language models."""

    def setUp(self):
        super().setUp()
        self.write("llama", world.llama_files(self.folder, "base"))
        self.write("llama_reviews", world.llama_files(self.folder, "reviews"))
        self.entry = {"data": "reviews", "expert": "llama_reviews", "prompt": "film: {sentence}"}
        self.entry["answers"] = {"0": "very bad", "1": "good"}
        pairs = {"data": "pairs", "prompt": "{first}", "answer": "{second} {label}"}
        self.suite = {"suite": "mine", "base": "llama", "tasks": {"reviews": self.entry, "pairs": pairs}}

    def refuses_text(self, expected):
        self.refuses(expected, "language_model", self.suite)

    def configure(self, **settings):
        path = self.folder / "llama/config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    def test_answers_stand_behind_their_prompt_and_end(self):
        self.run_command("language_model", self.suite)
        task, tokens = self.task("reviews")
        test = task.splits["test"]
        labels = [i % 2 for i in test.groups - test.groups.min()]
        found = [b"".join(tokens.table[i] for i in row) for row in test.arrays["answers"].rows()]
        self.assertEqual(found, [(b" very bad</s>", b" good</s>")[label] for label in labels])
        self.assertEqual(task.kind, "generate")
        self.assertEqual(task.attributes, {"answer_start": 1, "answer_end": 1, "longest_answer": 5})
        self.assertEqual({row[0] for row in test.arrays["tokens"].rows()}, {0})  # <s>, and no end behind the prompt
        self.assertNotIn(1, np.concatenate(test.arrays["tokens"].rows()))
        firsts, seconds = world.sentences("first", 40), world.sentences("second", 40)
        numbers = self.task("pairs")[0].splits["test"].groups
        self.assertEqual(self.texts("pairs", "test"), [firsts[i] for i in numbers])
        answers = [f"{seconds[i]} {('same', 'other')[i % 2]}" for i in numbers]
        self.assertEqual(self.texts("pairs", "test", "answers"), answers)

    def test_gpt2_whose_end_is_its_only_special_token_is_padded_with_another(self):
        self.write("gpt2", world.gpt2_files(self.folder, "base"))
        self.write("gpt2_reviews", world.gpt2_files(self.folder, "reviews"))
        self.suite |= {"base": "gpt2", "tasks": {"reviews": self.entry | {"expert": "gpt2_reviews"}}}
        self.run_command("language_model", self.suite, program=PROGRAM)
        task, tokens = self.task("reviews")
        self.assertEqual(task.attributes["answer_end"], 0)
        self.assertEqual(tokens.pad, len(tokens) - 1)
        if PROGRAM:
            self.verify()

    @needs_program
    def test_a_board_of_answers_is_made_of_it(self):
        self.run_command("language_model", self.suite, program=PROGRAM)
        self.verify()
        self.assertIn("Scores: Exact match in %", self.board("task = all\n[individual]\n[simple_average]\n"))

    def test_a_task_has_one_form(self):
        self.entry["choices"] = ["good", "bad"]
        self.refuses_text("must give 'text', or 'prompt' and one of .* but gives prompt, answers, choices")
        del self.entry["choices"], self.entry["answers"]
        self.refuses_text("but gives prompt$")
        del self.entry["prompt"]
        self.refuses_text("but gives none of them")

    def test_answers_need_an_end(self):
        self.configure(eos_token_id=None)
        self.refuses_text("must end with one token of .*, but eos_token_id of .* is None; name one with 'answer_end'")
        self.configure(eos_token_id=[1, 2])
        self.refuses_text(r"but eos_token_id of .* is \[1, 2\]")
        for task in self.suite["tasks"].values():
            task["answer_end"] = "<end>"
        self.refuses_text("but it has no '<end>'")
        for task in self.suite["tasks"].values():
            task["answer_end"] = "<unk>"
        self.run_command("language_model", self.suite)
        self.assertEqual(self.task("reviews")[0].attributes["answer_end"], 2)
        self.entry["answers"]["0"] = "very <unk> bad"
        self.refuses_text("the token 2 must end an answer and not stand in one, but it does: 'very <unk> bad'")

    def test_wrong_answers_are_refused(self):
        self.entry["longest_answer"] = 2
        self.refuses_text("longest_answer must be 5 or more, .* but it is 2")
        self.entry["longest_answer"] = 60
        self.refuses_text("a prompt with 60 tokens behind it, .* must have at most 64 tokens, but one has")
        self.suite["longest"] = 5
        self.refuses_text("a prompt and its choice or answer must have at most 5 tokens")
        del self.suite["longest"]
        self.entry["answers"]["0"] = " "
        self.refuses_text("an answer must be a text, but one is empty")
        del self.entry["answers"]["0"]
        self.refuses_text("must have the label '0', but has 1")
        self.entry |= {"answer": "{rating}"}
        del self.entry["answers"]
        self.refuses_text("must have the column 'rating'")

    def test_a_tokenizer_that_ends_prompts_is_refused(self):
        tokenizer = world.byte_level("<s>", "</s>", "<unk>", template="<s> $A </s>")
        (self.folder / "llama/tokenizer.json").write_text(tokenizer.to_str())
        self.refuses_text("the second be what follows the prompt")


class NumbersTest(ImportTest):
    def test_heads_in_bfloat16_are_read(self):
        from fusegrid_import.models import read_tensors

        values = random("bf16").normal(size=(3, 4)).astype(np.float32)
        rounded = (values.view(np.uint32) >> 16).astype(np.uint16)
        save_file({"score.weight": rounded}, self.folder / "model.safetensors")
        path = self.folder / "model.safetensors"
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = content[8 : 8 + length].replace(b'"U16"', b'"BF16"')
        path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
        found = read_tensors(self.folder, lambda name: True)["score.weight"]
        np.testing.assert_array_equal(found, (rounded.astype(np.uint32) << 16).view(np.float32))


if __name__ == "__main__":
    unittest.main()
