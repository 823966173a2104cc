"""Published boards rehearsed on stand-ins: import, zoo, run, report; and the tables of jobs/published themselves."""

import concurrent.futures
import contextlib
import csv
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import unittest.mock
from pathlib import Path

from import_support import PROGRAM, needs_program

import published_world as world
from support import ROOT, FolderTest
from fusegrid_import.command import main
from packs.task_pack import read_task_pack

PUBLISHED = ROOT / "jobs/published"
# Zoos of the same layout as another one, which stands for them.
TWINS = {"clip-b16": "clip-b32", "clip-l14": "clip-b32", "flan-t5-large-lora": "flan-t5-base-lora"}
TWINS |= {
    f"clip-b32-{split}": f"clip-b32-{world.CORRUPTION}"
    for split in ("contrast", "gaussian_noise", "impulse_noise", "jpeg_compression", "pixelate", "spatter")
}


def setUpModule():
    """One world for all tests: models, data sets, and the zoos made of them."""
    global WORLD
    holder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(holder.cleanup)
    WORLD = Path(holder.name)
    world.write_clip(WORLD)
    world.write_glue(WORLD)
    world.write_gpt2(WORLD)
    world.write_flan_t5(WORLD)
    world.write_nyuv2(WORLD)
    prompts = ["--prompts", str(world.write_prompts(WORLD / "prompts.json"))]
    size = ["--size", world.CLIP_SIZE, *prompts]
    import_suite("clip", "clip20", "clip-b32", *size)
    import_suite("clip", "clip8_lora", "clip-b16-lora", "--size", world.LORA_SIZE, *prompts)
    import_suite("clip", "clip4_corrupted", "clip-b32-motion_blur", "--test-split", world.CORRUPTION, *size)
    import_suite("text", "gpt2_glue7", "gpt2-glue7")
    import_suite("dense", "nyuv2_3", "nyuv2")
    import_suite("seq2seq", "flan_t5_glue8", "flan-t5-base", "--size", "base")
    import_suite("seq2seq", "flan_t5_glue8_lora", "flan-t5-base-lora", "--size", "base")
    if PROGRAM:
        for twin, zoo in TWINS.items():
            write_twin(WORLD / "zoos" / zoo, WORLD / "zoos" / twin)


def import_suite(command, suite, zoo, *options):
    program = ["--fusegrid", PROGRAM] if PROGRAM else ["--no-zoo"]
    with (
        unittest.mock.patch.dict(os.environ, {"HF_HUB_CACHE": str(WORLD / "no cache")}),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        main([command, suite, "--out", str(WORLD / "zoos" / zoo), "--models", str(WORLD / "hub"), "--any-counts",
              *program, *options])  # fmt: skip


def write_twin(zoo, twin):
    content = json.loads((zoo / "zoo.json").read_text())
    twin.mkdir()
    content["name"] = twin.name
    content["pack"] = str((zoo / content["pack"]).resolve())
    for replicate in content["replicates"]:
        for name in ("base", "heads"):
            if name in replicate:
                replicate[name] = str((zoo / replicate[name]).resolve())
        replicate["experts"] = {name: str((zoo / path).resolve()) for name, path in replicate["experts"].items()}
    (twin / "zoo.json").write_text(json.dumps(content))


def read_table(name):
    """(comments, columns, lines as dictionaries)"""
    lines = (PUBLISHED / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    return [line for line in lines if line.startswith("#")], rows[0], [dict(zip(rows[0], row)) for row in rows[1:]]


def tasks_of(columns):
    known = ("kind", "zoo", "experts", "shift", "row", "cells", "tolerance", "average", "unseen", "source", "note")
    return [column for column in columns if column not in known]


def write_table(path, comments, columns, lines):
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"{comment}\n" for comment in comments)
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


class TablesTest(unittest.TestCase):
    """The committed tables agree with themselves, as far as arithmetic tells."""

    def test_averages_are_those_of_the_cells(self):
        misprints = []
        for path in sorted(PUBLISHED.glob("*.csv")):
            _, columns, lines = read_table(path.stem)
            tasks = tasks_of(columns)
            for line in lines:
                if line["kind"] not in ("percent", "fraction"):
                    continue
                unseen = tasks[-2:] if "unseen" in columns else []
                for average, some in (("average", [t for t in tasks if t not in unseen]), ("unseen", unseen)):
                    values = [float(line[task]) for task in some if line[task]]
                    if line.get(average) and values and len(values) == len(some):
                        unit = 100 if line["kind"] == "fraction" else 1
                        error = unit * abs(sum(values) / len(values) - float(line[average]))
                        if error > 0.11:
                            self.assertTrue(line["note"], (path.stem, line["row"]))
                            misprints.append((path.stem, line["row"], average))
        self.assertEqual(
            misprints,
            [("clip_b32_unseen2", "Pre-trained", "unseen"), ("flan_t5_base_lora_8", "Simple Average", "average")],
        )

    def test_counts_are_the_percentages_of_the_same_vintage(self):
        """B/16's rows are of the same vintage as its counts, so that each is the other, rounded."""
        _, columns, lines = read_table("clip_b16_8")
        rows = {line["row"]: line for line in lines}
        examples = next(line for line in lines if line["kind"] == "examples")
        for row, counts in (("Pre-trained", "Pre-trained, 2025"), ("Fine-tuned (STL)", "Fine-tuned, 2025")):
            for task in tasks_of(columns):
                percent = 100 * int(rows[counts][task]) / int(examples[task])
                self.assertAlmostEqual(percent, float(rows[row][task]), delta=0.11, msg=f"{row}, {task}")

    def test_examples_are_those_of_the_suites(self):
        from fusegrid_import.command import SUITES
        from fusegrid_import.suite import read_suite

        for table, suite in (("clip_b32_20", "clip20"), ("gpt2_7", "gpt2_glue7"), ("flan_t5_base_8", "flan_t5_glue8"), ("nyuv2_3", "nyuv2_3"),
                             ("clip_b32_corrupted", "clip4_corrupted")):  # fmt: skip
            _, columns, lines = read_table(table)
            examples = next(line for line in lines if line["kind"] == "examples")
            counts = {t.name: t.counts["test"] for t in read_suite(SUITES / f"{suite}.json", "base", None, "x").tasks}
            self.assertEqual({task: int(examples[task]) for task in tasks_of(columns)}, counts)


class SuitesTest(unittest.TestCase):
    """Suites that come along, on stand-ins of the published layouts."""

    def pack(self, zoo):
        return {task.name: task for task in read_task_pack(WORLD / "zoos" / zoo / "pack.h5").tasks}

    def test_the_twenty_tasks_of_clip(self):
        tasks = self.pack("clip-b32")
        names = [task.name for task in world.clip_suite().tasks]
        self.assertEqual(sorted(tasks), sorted(names))
        if PROGRAM:
            self.assertEqual(json.loads((WORLD / "zoos/clip-b32/zoo.json").read_text())["tasks"], names)
        for name, task in tasks.items():
            self.assertEqual(len(task.splits["test"]), world.TEST, name)
            self.assertEqual(sorted(task.splits["test"].arrays["labels"]), [0] * 4 + [1] * 4, name)

    def test_corrupted_images_are_splits_of_the_data_sets(self):
        clean, corrupted = (self.pack(zoo)["gtsrb"].splits for zoo in ("clip-b32", "clip-b32-motion_blur"))
        self.assertFalse((clean["test"].arrays["images"] == corrupted["test"].arrays["images"]).all())
        with self.assertRaisesRegex(ValueError, "has a {split}; give --test-split, such as motion_blur"):
            import_suite("clip", "clip4_corrupted", "none", "--size", world.CLIP_SIZE)

    def test_the_seven_tasks_of_gpt2(self):
        tasks = self.pack("gpt2-glue7")
        names = ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2"]
        examples = {name: len(task.splits["test"]) for name, task in tasks.items()}
        self.assertEqual(examples, dict.fromkeys(names, world.GLUE_TEST))
        self.assertEqual(len(tasks["mnli"].attributes["classes"]), 3)

    def test_the_eight_tasks_of_flan_t5(self):
        pack = read_task_pack(WORLD / "zoos/flan-t5-base/pack.h5")
        answers = {
            task.name: {pack.tokens.text(r.tolist()).strip() for r in task.splits["test"].arrays["answers"].rows()}
            for task in pack.tasks
        }
        self.assertEqual(answers["mnli"], {"entailment", "neutral", "contradiction"})
        self.assertEqual(answers["cola"], {"acceptable", "unacceptable"})
        self.assertEqual(answers["stsb"], {"0.0", "1.2", "2.6", "3.8", "5.0"})  # one decimal
        for task in pack.tasks:
            self.assertEqual(task.attributes["longest_answer"], 9)
            self.assertEqual(task.attributes.get("metric"), "spearman" if task.name == "stsb" else None)


@needs_program
class RehearsalTest(FolderTest):
    """Jobs of jobs/published on the stand-ins' zoos, with tables whose numbers of test examples are theirs."""

    def setUp(self):
        super().setUp()
        self.environment = os.environ | {
            "FUSEGRID_ZOOS": str(WORLD / "zoos"), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive",
        }  # fmt: skip

    def program(self, *words, code=0):
        done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, cwd=self.folder,
                              env=self.environment)  # fmt: skip
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def copy_job(self, name, examples, methods=None):
        """With the stand-ins' numbers of examples, and rows of counts scaled to them."""
        comments, columns, lines = read_table(name)
        tasks = tasks_of(columns)
        published = next(dict(line) for line in lines if line["kind"] == "examples")
        for line in lines:
            if line["kind"] == "examples":
                line.update(dict.fromkeys(tasks, examples))
            elif line["kind"] == "count":
                for task in tasks:
                    if line[task].isdigit():
                        line[task] = round(int(line[task]) * examples / int(published[task]))
        write_table(self.folder / f"{name}.csv", comments, columns, lines)
        job = (PUBLISHED / f"{name}.cfg").read_text()
        if methods is not None:
            job = job[: job.index("\n[") + 1] + methods
        (self.folder / f"{name}.cfg").write_text(job + "\n")
        return f"{name}.cfg"

    def compared(self, name):
        """(row, column) -> line of published.csv"""
        with (self.folder / f"results/{name}/published.csv").open() as file:
            return {(line["row"], line["column"]): line for line in csv.DictReader(file)}

    def rehearse(self, name, examples, methods, code=4):
        job = self.copy_job(name, examples, methods)
        self.program("run", job, "--quiet", "--inline", "--device", "cpu")
        return self.program("report", f"results/{name}", "--published", code=code)

    def test_a_board_of_clip(self):
        said = self.rehearse("clip_b32_8", world.TEST, "[pretrained]\n[individual]\n[simple_average]\n[ties]\n")
        self.assertIn("## CLIP-ViT-B/32 merged from experts of eight tasks: clip-b32, 8 experts", said)
        self.assertRegex(said, r"\| RegMean\+\+ +\| published ")
        self.assertIn("| not run here: this program cannot make it", said)
        self.assertIn("| not run here: not in the job", said)
        lines = self.compared("clip_b32_8")
        board = self.accuracies("clip_b32_8")
        for title, method in (("Simple Averaging", "simple_average"), ("Ties-Merging (lambda=0.3)", "ties")):
            for task, accuracy in board[method].items():
                line = lines[title, task]
                self.assertAlmostEqual(float(line["here"]), 100 * accuracy, places=9)
                self.assertAlmostEqual(float(line["points"]), 100 * accuracy - float(line["published"]), places=9)
        right = lines["Fine-tuned, 2025", "mnist"]
        here = world.TEST * board["individual"]["mnist"]
        self.assertEqual(float(right["right"]), here - float(right["published_right"]))

    def test_a_board_of_texts_is_within_its_tolerance_where_the_numbers_are_the_same(self):
        methods = "[individual]\n[simple_average]\n[task_arithmetic]\nscale = 0.3 0.5\n"
        self.rehearse("gpt2_7", world.GLUE_TEST, methods)
        board = self.compared("gpt2_7")
        comments, columns, lines = read_table("gpt2_7")
        for line in lines:
            for column in [*tasks_of(columns), "average"]:
                here = board.get((line["row"], column), {}).get("here")
                if line["kind"] == "examples":
                    line[column] = world.GLUE_TEST if column != "average" else ""
                elif here and line[column]:
                    line[column] = float(here) / (100 if line["kind"] == "fraction" else 1)
        kept = [line for line in lines if not (line["kind"] == "count" and line["cells"] == "pretrained")]
        write_table(self.folder / "gpt2_7.csv", comments, columns, kept)
        self.program("run", "gpt2_7.cfg", "--quiet", "--inline", "--device", "cpu")  # nothing to run; the new table
        said = self.program("report", "results/gpt2_7", "--published")
        self.assertIn(" published rows: 5 within tolerance, 0 outside, 0 incomplete", said)

    def test_a_board_of_answers_compares_correlations_too(self):
        self.rehearse("flan_t5_base_lora_8", world.GLUE_TEST, "[individual]\n[simple_average]\n")
        line = self.compared("flan_t5_base_lora_8")["Fine-tuned (STL)", "stsb"]
        self.assertEqual(line["metric"], "spearman")

    def test_a_board_of_maps_has_each_metric_in_its_unit(self):
        said = self.rehearse("nyuv2_3", world.NYUV2_TEST, "[individual]\n[simple_average]\n[task_arithmetic]\n")
        self.assertIn("## NYUv2, ResNet-50 merged from experts of segmentation, depth and normals", said)
        lines = self.compared("nyuv2_3")
        with (self.folder / "results/nyuv2_3/leaderboard.csv").open() as file:
            board = {line["method"]: line for line in csv.DictReader(file)}["simple_average"]
        for task, metric, unit in (("segmentation", "mean_iou", 100), ("depth", "absolute_error", 100),
                                   ("normal", "mean_angle", 1)):  # fmt: skip
            line = lines["Weight Averaging", task]
            self.assertAlmostEqual(float(line["here"]), unit * float(board[f"{metric}_{task}"]), places=6)
        self.assertNotIn(("Weight Averaging", "average"), {key for key, line in lines.items() if line["here"]})

    def accuracies(self, name):
        """method -> task -> accuracy"""
        with (self.folder / f"results/{name}/leaderboard.csv").open() as file:
            return {
                line["method"]: {
                    column.removeprefix("accuracy_"): float(value)
                    for column, value in line.items()
                    if column.startswith("accuracy_")
                }
                for line in csv.DictReader(file)
            }

    def test_a_board_for_each_expert_alone(self):
        said = self.rehearse("clip_b16_lora_single", world.TEST, "[simple_average]\n")
        headings = re.findall(r"\| \*([^*]+)\* ", said)
        self.assertEqual(headings[:2], ["clip-b16-lora, 1 expert", "clip-b16-lora, experts stanford-cars"])
        self.assertEqual(len(headings), 8)

    def test_every_job_is_ready_to_run(self):
        def dry_run(name):
            examples = {"clip": world.TEST, "nyuv2": world.NYUV2_TEST}.get(name.split("_")[0], world.GLUE_TEST)
            job = self.copy_job(name, examples)
            return self.program("run", job, "--dry-run")

        names = sorted(path.stem for path in PUBLISHED.glob("*.cfg"))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for said in pool.map(dry_run, names):
                self.assertRegex(said, r"dry run: \d+ cells to run")

    def test_other_numbers_of_test_examples_are_refused_before_anything_runs(self):
        shutil.copy(PUBLISHED / "clip_b32_8.csv", self.folder)
        shutil.copy(PUBLISHED / "clip_b32_8.cfg", self.folder)
        said = self.program("run", "clip_b32_8.cfg", "--dry-run", code=2)
        rule = "the published numbers are of 19850 test examples of 'sun397', but the zoo 'clip-b32' has 8"
        self.assertIn(f"clip_b32_8.cfg:6: {rule}", said)
        job = self.copy_job("clip_b32_8", world.TEST)
        text = (self.folder / job).read_text()
        (self.folder / job).write_text(re.sub("published = .*", "published = none.csv", text))
        self.assertIn("none.csv", self.program("run", job, "--dry-run", code=2))


if __name__ == "__main__":
    unittest.main()
