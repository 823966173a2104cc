import unittest

import numpy as np

from support import FolderTest, made_up_inputs, made_up_pack
from packs.pretraining_pool import PretrainingPool, TextSource, read_pretraining_pool, write_pretraining_pool
from packs.tokens import Ragged
from text_data.candidates import folded
from text_data.suite import POOL_LENGTH, make_text_pool
from texts import parts, splits_of_texts


class TextPoolTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.pack = made_up_pack("whole")
        self.pool = make_text_pool(made_up_inputs(), self.pack.tokens)

    def test_holds_nothing_of_a_val_or_test_split(self):
        held_out = {text for text, splits in splits_of_texts(self.pack).items() if splits != {"train"}}
        self.assertGreater(len(held_out), 1000)
        seen = 0
        for source in self.pool.sources:
            for ragged in filter(None, (source.tokens, source.partners)):
                for row in ragged.rows():
                    (text,) = parts(row.tolist(), self.pool.tokens)
                    for piece in (text, *text.split(": ", 1)[1:], *text.split(" / ", 1)[:1]):
                        self.assertNotIn(folded(piece), held_out, source.name)
                        seen += 1
        self.assertGreater(seen, 5000)

    def test_holds_what_is_trained_on(self):
        train = {text for text, splits in splits_of_texts(self.pack).items() if splits == {"train"}}
        corpus = next(source for source in self.pool.sources if source.name == "corpus")
        texts = {folded(parts(row.tolist(), self.pool.tokens)[0]) for row in corpus.tokens.rows()}
        self.assertGreater(len(train & texts), 1000)
        self.assertLessEqual(max(map(len, corpus.tokens.rows())), POOL_LENGTH)

    def test_ids_mean_the_same_as_those_of_the_pack(self):
        self.assertEqual(self.pool.tokens, self.pack.tokens)

    def test_any_range_mixes_what_the_corpus_is_made_of(self):
        corpus = next(source for source in self.pool.sources if source.name == "corpus")
        lengths = np.diff(corpus.tokens.offsets.astype(int))
        quarters = [part.mean() for part in np.array_split(lengths, 4)]
        self.assertLess(np.ptp(quarters), 0.1 * lengths.mean())

    def test_comes_back_as_it_was_written(self):
        write_pretraining_pool(self.folder / "pool.h5", self.pool)
        seen = read_pretraining_pool(self.folder / "pool.h5")
        self.assertEqual((seen.tokens, seen.sources_sha256), (self.pool.tokens, self.pool.sources_sha256))
        for source, written in zip(seen.sources, self.pool.sources, strict=True):
            self.assertEqual(
                (source.name, source.share, source.kind), (written.name, written.share, written.kind)
            )
            self.assertEqual(source.tokens.values.tolist(), written.tokens.values.tolist())
            self.assertEqual(source.tokens.offsets.tolist(), written.tokens.offsets.tolist())
            if written.partners is not None:
                self.assertEqual(source.partners.values.tolist(), written.partners.values.tolist())

    def test_shares_and_partners_must_fit(self):
        tokens = self.pool.tokens
        one, two = (Ragged.from_rows([[1, 30, 2]] * count, len(tokens)) for count in (1, 2))
        cases = {
            "add up to 1": (TextSource("a", 0.5, one),),
            "must have a partner": (TextSource("a", 1, one, two),),
            "less than the vocabulary": (TextSource("a", 1, Ragged.from_rows([[len(tokens)]], len(tokens))),),
        }
        for message, sources in cases.items():
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                write_pretraining_pool(self.folder / "pool.h5", PretrainingPool("-", sources, tokens))
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
