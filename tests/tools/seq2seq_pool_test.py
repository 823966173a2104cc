import unittest
from math import sqrt

import numpy as np

from support import FolderTest, made_up_inputs, made_up_pack, made_up_seq2seq_pack, made_up_seq2seq_pool
from packs.pretraining_pool import read_pretraining_pool, write_pretraining_pool
from text_data.candidates import folded, split_of
from text_data.cmudict import spelled
from text_data.generation import word_group
from text_data.seq2seq import ANSWER_LENGTH, SHOTS, SOURCE_LENGTH
from text_sources import FORM_OF_TEST
from texts import question_of, splits_of_questions, splits_of_texts

SHOTS_SHARE = 0.15 / 0.70


class Seq2SeqPoolTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.pack = made_up_seq2seq_pack()
        self.pool = made_up_seq2seq_pool()
        self.sources = {source.name: source for source in self.pool.sources}

    def pairs(self, name: str) -> dict[str, str]:
        source, tokens = self.sources[name], self.pool.tokens
        return {
            question_of(tokens.text(row.tolist())): tokens.text(answer.tolist())
            for row, answer in zip(source.tokens.rows(), source.partners.rows())
        }

    def test_holds_nothing_of_a_val_or_test_split(self):
        found = splits_of_questions(self.pack)
        for text, splits in splits_of_texts(made_up_pack("whole")).items():
            found[text] |= splits
        held_out = {text for text, splits in found.items() if splits != {"train"}}
        self.assertGreater(len(held_out), 1500)
        seen = set()
        for source in self.pool.sources:
            # Answers of train rows may be what another task asks.
            for ragged in (source.tokens, None if source.name == "shots" else source.partners):
                for row in [] if ragged is None else ragged.rows():
                    text = self.pool.tokens.text(row.tolist())
                    seen.update(map(folded, (text, *text.split(": ", 1)[1:], *text.split(" / ", 1)[:1])))
        self.assertGreater(len(seen), 5000)
        self.assertEqual(seen & held_out, set())

    def test_a_word_that_is_tested_on_is_in_no_other_text(self):
        word = spelled(FORM_OF_TEST[0])
        for source in self.pool.sources:
            for row in source.tokens.rows():
                self.assertNotIn(word, self.pool.tokens.text(row.tolist()), source.name)

    def test_shots_are_the_first_train_rows_of_each_task(self):
        expected = {}
        for task in self.pack.tasks:
            arrays = task.splits["train"].arrays
            for i in range(min(SHOTS, len(task.splits["train"]))):
                expected[tuple(arrays["tokens"].row(i).tolist())] = arrays["answers"].row(i).tolist()
        shots = self.sources["shots"]
        seen = {
            tuple(row.tolist()): answer.tolist() for row, answer in zip(shots.tokens.rows(), shots.partners.rows())
        }
        self.assertEqual(seen, expected)
        self.assertEqual(len(shots), len(expected))

    def test_shares_are_of_the_roots_of_sizes(self):
        self.assertEqual(self.sources["texts"].share, 1)
        self.assertAlmostEqual(self.sources["shots"].share, SHOTS_SHARE)
        sizes = {name: len(source) for name, source in self.sources.items() if name not in ("texts", "shots")}
        whole = sum(map(sqrt, sizes.values()))
        for name, size in sizes.items():
            self.assertAlmostEqual(self.sources[name].share, (1 - SHOTS_SHARE) * sqrt(size) / whole)

    def test_questions_have_their_answers(self):
        inputs = made_up_inputs()
        words = {word.spelled: word for word in inputs.words}
        count = 0
        for name, answer_of in {
            "syllables": lambda word: "3",
            "first_sound": lambda word: word.phones[0],
            "last_sound": lambda word: word.phones[-1],
            "vowels": lambda word: " ".join(phone for phone in word.phones if phone not in ("k", "t")),
            "consonants": lambda word: " ".join(phone for phone in word.phones if phone in ("k", "t")),
            "reverse": lambda word: word.spelled[::-1],
            "start": lambda word: " ".join(word.phones[:3]),
        }.items():
            for text, answer in self.pairs(name).items():
                self.assertEqual(answer, answer_of(words[text]), name)
                self.assertEqual(split_of(words[text].group), "train")
                count += 1
        self.assertGreater(count, 800)
        self.assertEqual({spelled(text) for text in self.pairs("spell")}, set(self.pairs("spell").values()))
        definitions = {synset.definition: synset for synset in inputs.wordnet.defined}
        asked = self.pairs("word")
        for text in self.pairs("pos").keys() & definitions:
            synset = definitions[text]
            part = {"n": "noun", "v": "verb", "a": "adjective", "r": "adverb"}[synset.key[0]]
            self.assertEqual((asked[text], self.pairs("pos")[text]), (synset.name, part))
            self.assertEqual(split_of(inputs.wordnet.group(synset)), "train")

    def test_derivations_go_from_word_to_word(self):
        for name, (ending, other) in {"adverb": ("ously", "ous"), "noun_of_verb": ("ize", "osity")}.items():
            pairs = {text.replace(" ", ""): answer.replace(" ", "") for text, answer in self.pairs(name).items()}
            self.assertGreater(len(pairs), 5)
            for text, answer in pairs.items():
                self.assertEqual((text, answer), (text[:4] + ending, text[:4] + other))
                self.assertEqual(split_of(word_group(text)), "train")

    def test_rows_end_and_are_no_longer_than_models_take(self):
        end = self.pool.tokens.table.index(b"</s>")
        for source in self.pool.sources:
            for ragged, most in ((source.tokens, SOURCE_LENGTH), (source.partners, ANSWER_LENGTH)):
                for row in [] if ragged is None else ragged.rows():
                    self.assertEqual([i for i in row.tolist() if i in self.pool.tokens.special], [end])
                    self.assertEqual(row[-1], end)
                    self.assertLessEqual(len(row), most)
        self.assertGreaterEqual(np.diff(self.sources["texts"].tokens.offsets.astype(int)).min(), 4)

    def test_comes_back_as_it_was_written(self):
        write_pretraining_pool(self.folder / "pool.h5", self.pool)
        seen = read_pretraining_pool(self.folder / "pool.h5")
        self.assertEqual((seen.tokens, seen.sources_sha256), (self.pack.tokens, self.pack.sources_sha256))
        self.assertEqual([s.name for s in seen.sources], [s.name for s in self.pool.sources])


if __name__ == "__main__":
    unittest.main()
