import json
import math
import subprocess
import sys
import unittest
from pathlib import Path

from support import ROOT, FolderTest


class LmEval(FolderTest):
    """examples/lm_eval.py with a stand-in for the harness."""

    def setUp(self):
        super().setUp()
        (self.folder / "model").mkdir()
        (self.folder / "model/model.safetensors").write_bytes(b"weights")

    def ask(self, *options, harness=Path(__file__).with_name("lm_eval_stand_in.py"), **request):
        request = {"task": "toy_mc", "split": "test", "metric": "acc", "limit": None, **request,
                   "model": str(self.folder / "model"), "out": str(self.folder / "answer.json")}
        (self.folder / "request.json").write_text(json.dumps(request))
        return subprocess.run([sys.executable, ROOT / "examples/lm_eval.py", self.folder / "request.json",
                               "--lm-eval", harness, *options], capture_output=True, text=True)  # fmt: skip

    def answer(self, *options, **request):
        run = self.ask(*options, **request)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual([path.name for path in self.folder.iterdir() if path.is_dir()], ["model"])
        (answer,) = json.loads((self.folder / "answer.json").read_text()).items()
        self.assertEqual(answer[0], request.get("task", "toy_mc"))
        return answer[1]

    def refusal(self, *options, **request):
        (self.folder / "answer.json").unlink(missing_ok=True)
        run = self.ask(*options, **request)
        self.assertNotEqual(run.returncode, 0)
        self.assertFalse((self.folder / "answer.json").exists())
        return run.stderr

    def test_takes_metric_error_count_and_outcomes(self):
        answer = self.answer()
        self.assertEqual(answer["count"], 24)
        self.assertEqual(len(answer["outcomes"]["acc"]), 24)
        self.assertEqual(answer["acc"], sum(answer["outcomes"]["acc"]) / 24)
        self.assertGreater(answer["acc_stderr"], 0)

    def test_outcomes_are_in_the_order_of_the_examples(self):
        whole = self.answer()["outcomes"]["acc"]
        self.assertEqual(self.answer(limit=7)["outcomes"]["acc"], whole[:7])
        self.assertEqual(self.answer(limit=7)["count"], 7)

    def test_the_job_may_call_metric_and_task_otherwise(self):
        answer = self.answer("--task", "toy_mc", "--metric", "acc_norm", task="quiz", metric="accuracy")
        self.assertEqual(set(answer), {"accuracy", "accuracy_stderr", "count", "outcomes"})
        self.assertEqual(set(answer["outcomes"]), {"accuracy"})

    def test_a_metric_with_several_filters_is_named_with_one(self):
        answer = self.answer("--metric", "exact_match,flexible-extract", task="toy_gen", metric="exact_match")
        self.assertEqual(answer["exact_match"], sum(answer["outcomes"]["exact_match"]) / 12)
        self.assertIn("exact_match,strict-match, exact_match,flexible-extract",
                      self.refusal(task="toy_gen", metric="exact_match"))

    def test_a_metric_that_is_not_there_is_refused(self):
        self.assertIn("acc,none, acc_norm,none, but it is 'f1'", self.refusal(metric="f1"))

    def test_groups_are_the_examples_of_their_tasks(self):
        answer = self.answer(task="toy_group")
        self.assertEqual(answer["count"], 33)
        self.assertEqual(answer["outcomes"]["acc"][:24], self.answer()["outcomes"]["acc"])
        self.assertTrue(math.isclose(answer["acc"], sum(answer["outcomes"]["acc"]) / 33))

    def test_outcomes_that_do_not_give_the_metric_are_left_out(self):
        self.assertNotIn("outcomes", self.answer(task="toy_group", metric="acc_norm"))
        self.assertIn("boards have no interval", self.ask(task="toy_group", metric="acc_norm").stderr)

    def test_perplexities_have_rows_of_nats_and_weights(self):
        answer = self.answer("--metric", "word_perplexity", task="toy_ppl", metric="perplexity")
        nats, words = map(sum, zip(*answer["outcomes"]["perplexity"]))
        self.assertTrue(math.isclose(answer["perplexity"], math.exp(nats / words)))
        self.assertNotIn("perplexity_stderr", answer, "the harness says N/A")
        self.assertNotIn("outcomes", self.answer(task="toy_ppl", metric="word_perplexity"))

    def test_validation_examples_are_those_of_a_task_that_is_named(self):
        self.assertIn("--val-task", self.refusal(split="val"))
        self.assertEqual(self.answer("--val-task", "toy_mc_2", split="val")["count"], 9)

    def test_a_harness_that_fails_fails(self):
        self.assertIn("ended with status", self.refusal("--no-such-option"))
        self.assertIn("wrote 0", self.refusal(harness="true"))
        self.assertIn("install lm-evaluation-harness", self.refusal(harness="no-such-program"))


if __name__ == "__main__":
    unittest.main()
