import hashlib
import json
import unittest

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from support import FolderTest, made_up_pack
from packs.task_pack import SPLITS
from text_data.minilm import make_minilm
from texts import parts

SPECIAL = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # with a hole, as in the published one
EMBEDDING = "embeddings.word_embeddings.weight"


def make_source(folder):
    """A folder like the published one: every letter, some syllables, and words that no text has."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789/:,&."
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), "##lang", "emoji", "##shire", "unseen", "##sa",
              "sato", "##toba", "lang", "terr"]  # fmt: skip
    ids = {piece: i for i, piece in enumerate(pieces)}
    mark = lambda name: {"id": name, "ids": [ids[name]], "tokens": [name]}
    token = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    tokenizer = {
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [{"id": ids[name], "special": True, "content": name, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False} for name in SPECIAL if name != "[unused0]"],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]")],
            "pair": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]"),
                     {"Sequence": {"id": "B", "type_id": 1}}, token("[SEP]")],
            "special_tokens": {"[CLS]": mark("[CLS]"), "[SEP]": mark("[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": ids},
    }  # fmt: skip
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
    (folder / "config.json").write_text(
        json.dumps({"model_type": "bert", "vocab_size": len(pieces), "pad_token_id": 0})
    )
    weights = {
        EMBEDDING: np.arange(2 * len(pieces), dtype=np.float32).reshape(-1, 2),
        "embeddings.position_ids": np.arange(8)[None],
        "encoder.layer.0.output.dense.weight": np.ones((2, 3), np.float32),
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return pieces, weights


class MiniLmTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.pieces, self.weights = make_source(self.folder / "source")
        self.pack = made_up_pack("whole")

    def make(self, whole_vocabulary=False):
        base = self.folder / f"base{whole_vocabulary:d}"
        return base, make_minilm(self.folder / "source", self.pack, base, whole_vocabulary)

    def test_a_cut_vocabulary_reads_the_examples_as_the_whole_one_does(self):
        _, whole = self.make(whole_vocabulary=True)
        _, cut = self.make()
        self.assertEqual(len(whole.tokens), len(self.pieces))
        self.assertLess(len(cut.tokens), len(self.pieces))
        for task, full in zip(cut.tasks, whole.tasks, strict=True):
            for name in SPLITS:
                rows, full_rows = (t.splits[name].arrays["tokens"].rows() for t in (task, full))
                for row, full_row in zip(rows, full_rows, strict=True):
                    self.assertEqual(
                        [cut.tokens.table[i] for i in row], [whole.tokens.table[i] for i in full_row]
                    )

    def test_examples_stay_what_and_where_they_were(self):
        _, made = self.make()
        self.assertEqual(made.suite, "whole_minilm")
        for task, old in zip(made.tasks, self.pack.tasks, strict=True):
            self.assertEqual(
                (task.name, task.licence, task.attributes), (old.name, old.licence, old.attributes)
            )
            for name in SPLITS:
                self.assertEqual(task.splits[name].groups.tolist(), old.splits[name].groups.tolist())
                new, before = task.splits[name].arrays, old.splits[name].arrays
                self.assertEqual(new["labels"].tolist(), before["labels"].tolist())
                for row, old_row in zip(new["tokens"].rows()[:50], before["tokens"].rows()):
                    texts, old_texts = (
                        parts(row.tolist(), made.tokens),
                        parts(old_row.tolist(), self.pack.tokens),
                    )
                    self.assertEqual(len(texts), len(old_texts))
                    for text, old_text in zip(texts, old_texts):
                        plain = old_text.replace("\u00e9", "e").replace(" ", "")
                        self.assertTrue(plain.lower().startswith(text.replace(" ", "")), (text, old_text))

    def test_the_folder_is_a_model_with_its_tokenizer(self):
        base, made = self.make()
        tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
        vocabulary = (base / "vocab.txt").read_text().splitlines()
        config = json.loads((base / "config.json").read_text())
        weights = load_file(base / "model.safetensors")
        self.assertEqual(tokenizer.get_vocab(), {piece: i for i, piece in enumerate(vocabulary)})
        self.assertEqual((config["vocab_size"], config["pad_token_id"]), (len(vocabulary), 0))
        self.assertNotIn("unseen", vocabulary)
        self.assertNotIn("[unused0]", vocabulary)
        self.assertEqual(
            made.tokens.tokenizer_sha256, hashlib.sha256((base / "tokenizer.json").read_bytes()).hexdigest()
        )
        for i, piece in enumerate(vocabulary):
            row = self.weights[EMBEDDING][self.pieces.index(piece)]
            np.testing.assert_array_equal(weights[EMBEDDING][i], row.astype(np.float16))
        for name in set(self.weights) - {EMBEDDING}:
            old = self.weights[name]
            rounded = old.astype(np.float16) if old.dtype == np.float32 else old
            self.assertEqual(weights[name].dtype, rounded.dtype)
            np.testing.assert_array_equal(weights[name], rounded)
        self.assertEqual(set(weights), set(self.weights))
        self.assertTrue((base / "1_Pooling/config.json").is_file())
        row = made.tasks[0].splits["train"].arrays["tokens"].row(0).tolist()
        self.assertEqual(tokenizer.encode(parts(row, made.tokens)[0]).ids, row)

    def test_embedding_and_vocabulary_must_fit(self):
        self.weights[EMBEDDING] = self.weights[EMBEDDING][:10]
        save_file(self.weights, self.folder / "source/model.safetensors")
        with self.assertRaisesRegex(ValueError, "one entry of the vocabulary"):
            self.make()


if __name__ == "__main__":
    unittest.main()
