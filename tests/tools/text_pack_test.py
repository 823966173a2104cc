import hashlib
import os
import subprocess
import sys
import unittest

import numpy as np
from tokenizers import Tokenizer

from support import ROOT, FolderTest, made_up_inputs, made_up_pack
from packs.task_pack import check_task_pack
from text_data.candidates import Candidate, Pool, folded, held_out_texts, split_of
from text_data.selection import Example, choose, unambiguous
from text_data.suite import TASK_LENGTH
from text_sources import LONG_BEGINNING, SHARED_DEFINITION
from texts import parts, splits_of_texts


class TextPackTest(FolderTest):
    def test_no_text_stands_in_two_splits(self):
        found = splits_of_texts(made_up_pack("whole"))
        self.assertGreater(len(found), 5000)
        self.assertEqual({text: splits for text, splits in found.items() if len(splits) > 1}, {})

    def test_no_group_is_in_two_splits_and_no_row_twice(self):
        for task in made_up_pack("whole").tasks:
            groups = [set(split.groups.tolist()) for split in task.splits.values()]
            self.assertEqual(len(set.union(*groups)), sum(map(len, groups)), task.name)
            rows = [tuple(row) for split in task.splits.values() for row in split.arrays["tokens"].rows()]
            self.assertEqual(len(set(rows)), len(rows), task.name)

    def test_a_text_that_several_splits_could_hold_is_tested_on(self):
        found = splits_of_texts(made_up_pack("whole"))
        self.assertEqual(found[folded(SHARED_DEFINITION)] - {"test"}, set())
        cut = {text: splits for text, splits in found.items() if text.startswith(folded(LONG_BEGINNING)[:20])}
        self.assertEqual(set(map(frozenset, cut.values())), {frozenset({"test"})})

    def test_a_sister_by_a_second_parent_is_no_partner_from_another_split(self):
        pools = {p.name: p for p in _pools()}
        definition_split = {}
        for synset in made_up_inputs().wordnet.defined:
            definition_split[synset.definition] = split_of(made_up_inputs().wordnet.group(synset))
        self.assertGreater(len(pools["rel3"].candidates), 500)
        for candidate in pools["rel3"].candidates:
            splits = {definition_split[text.split(": ", 1)[1]] for text in candidate.texts}
            self.assertEqual(splits, {split_of(candidate.group)}, candidate)

    def test_texts_of_two_classes_and_repetitions_are_left_out(self):
        group = next(f"g{i}" for i in range(99) if split_of(f"g{i}") == "train")
        make = lambda text, label: Candidate((text,), label, group)
        candidates = (make("Both", 0), make("both", 1), make("one", 0), make("ONE", 0), make("two", 1))
        pool = Pool("p", "", "", "", "", ("a", "b"), candidates)
        kept = unambiguous(pool, held_out_texts([pool]))
        self.assertEqual([c.texts[0] for c in kept], ["one", "two"])

    def test_rows_are_whole_words_between_marks(self):
        pack = made_up_pack("whole")
        tokenizer = Tokenizer.from_str(pack.tokens.tokenizer.decode())
        lengths = set()
        for task in pack.tasks:
            for row in task.splits["train"].arrays["tokens"].rows()[:200]:
                texts = parts(row.tolist(), pack.tokens)
                encoded = tokenizer.encode(*texts).ids
                self.assertEqual(encoded, row.tolist())
                self.assertEqual(len(texts), 2 if task.name == "rel3" else 1)
                lengths.add(len(row))
        self.assertLessEqual(max(lengths), TASK_LENGTH)
        self.assertGreaterEqual(max(lengths), TASK_LENGTH - 5)

    def test_classes_are_balanced_and_smaller_caps_choose_from_larger(self):
        examples = [
            Example((i,), 0 if i < 150 else 1 if i < 190 else 2, f"g{i // 50 if i < 50 else i}")
            for i in range(200)
        ]
        small, large = (choose("t", "train", 3, cap, examples) for cap in (30, 120))
        self.assertLessEqual({e.row for e in small}, {e.row for e in large})
        counts = np.bincount([e.label for e in small])
        self.assertEqual(counts.tolist(), [10, 10, 10])
        self.assertLessEqual(sum(e.group == "g0" for e in large), 40)
        self.assertEqual(np.bincount([e.label for e in large])[2], 10)
        with self.assertRaisesRegex(ValueError, r"t/val: every class must occur, but \[3\] do not"):
            choose("t", "val", 4, 30, examples)

    def test_the_small_pack_is_part_of_the_large_one_in_the_same_tokens(self):
        small, whole = made_up_pack("small"), made_up_pack("whole")
        self.assertEqual(small.tokens, whole.tokens)
        large = {task.name: task for task in whole.tasks}
        self.assertEqual(len(small.tasks), 8)
        for task in small.tasks:
            for name, split in task.splits.items():
                rows = set(map(tuple, large[task.name].splits[name].arrays["tokens"].rows()))
                self.assertLessEqual(set(map(tuple, split.arrays["tokens"].rows())), rows)

    def test_a_second_run_gives_the_same_bytes(self):
        script = (
            "import sys; from pathlib import Path; import support; from packs.task_pack import write_task_pack;"
            "from packs.pretraining_pool import write_pretraining_pool; from text_data.suite import make_text_pool;"
            "from text_data.seq2seq import make_seq2seq_pool;"
            "pack, seq2seq = support.made_up_pack('small'), support.made_up_seq2seq_pack();"
            "write_task_pack(Path(sys.argv[1]), pack); write_task_pack(Path(sys.argv[3]), seq2seq);"
            "write_pretraining_pool(Path(sys.argv[2]), make_text_pool(support.made_up_inputs(), pack.tokens));"
            "write_pretraining_pool(Path(sys.argv[4]), make_seq2seq_pool(support.made_up_inputs(), seq2seq))"
        )
        digests = []
        for seed in ("1", "2"):
            names = ("pack", "pool", "seq2seq", "seq2seq_pool")
            files = [self.folder / f"{name}{seed}.h5" for name in names]
            environment = os.environ | {"PYTHONHASHSEED": seed}
            subprocess.run(
                [sys.executable, "-c", script, *files], check=True, env=environment, cwd=ROOT / "tests/tools"
            )
            digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
        self.assertEqual(digests[0], digests[1])

    def test_the_checks_of_packs_are_passed(self):
        check_task_pack(made_up_pack("whole"))


def _pools():
    from text_data.tasks import make_pools

    return make_pools(made_up_inputs()).values()


if __name__ == "__main__":
    unittest.main()
