import hashlib
import json
import shutil
import unittest

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

from import_support import PROGRAM, ImportTest, needs_program
from import_world import (
    CLASSES,
    PIXELS,
    PROMPTS,
    as_json,
    cache,
    clip_adapter_files,
    clip_base_files,
    clip_expert_files,
    clip_world,
)
from import_world import image_rows, parquet_files, picture
from fusegrid_import.command import SUITES
from fusegrid_import.images import read_processor
from fusegrid_import.suite import read_suite
from packs.task_pack import read_task_pack

# Of transformers 5.17.0: the first columns of the heads of `digits`, and the SHA-256 of 20 prepared pictures.
HEADS = [[-0.644184, 0.11525, 0.299391, -0.097704], [-0.704852, 0.121887, 0.350963, -0.081054],
         [-0.728997, 0.140261, 0.357715, -0.054384]]  # fmt: skip
PICTURES = "248c9fa689620761a9c02468b3e60ae4e22222f8273a808591b7d52098ffc583"


class ClipTest(ImportTest):
    def setUp(self):
        super().setUp()
        self.suite = clip_world(self.folder)
        self.write_prompts(PROMPTS)

    def write_prompts(self, content):
        (self.folder / "prompts.json").write_text(json.dumps(content))

    def clip(self, *options, program=None):
        return self.run_command("clip", self.suite, *self.options(), *options, program=program)

    def refuses_clip(self, expected, *options):
        self.refuses(expected, "clip", self.suite, *self.options(), *options)

    def options(self):
        return ["--size", "tiny", "--prompts", str(self.folder / "prompts.json")]

    def repository(self, name):
        return self.folder / "hub" / name

    def test_heads_are_those_of_transformers(self):
        self.clip()
        heads = load_file(self.out("heads.safetensors"))
        np.testing.assert_allclose(heads["digits.rows"][:, : len(HEADS[0])], HEADS, atol=2e-6)
        np.testing.assert_allclose(np.linalg.norm(heads["pets.rows"], axis=1), 1, atol=1e-6)
        self.assertEqual(heads["logit_scale"].shape, ())
        with safe_open(self.out("heads.safetensors"), "np") as file:
            self.assertEqual(set(file.metadata()), {"base_sha256", "prompts_sha256"})

    def test_images_are_those_of_transformers(self):
        base = next((self.repository("models--openai--clip-vit-tiny") / "snapshots").iterdir())
        processor, digest = read_processor(base), hashlib.sha256()
        for i in range(20):
            path = self.folder / f"{i}.png"
            picture(f"golden/{i}").save(path)
            digest.update(processor({"path": str(path), "bytes": None}, "test").tobytes())
        self.assertEqual(digest.hexdigest(), PICTURES)

    def test_the_pack_has_each_example_once_with_its_label(self):
        self.clip()
        pack = read_task_pack(self.out("pack.h5"))
        self.assertEqual([task.name for task in pack.tasks], ["digits", "pets"])
        digits, pets = pack.tasks
        self.assertEqual(
            {name: len(split) for name, split in digits.splits.items()}, {"train": 27, "val": 3, "test": 14}
        )
        self.assertEqual(
            {name: len(split) for name, split in pets.splits.items()}, {"train": 20, "val": 6, "test": 8}
        )
        self.assertEqual(digits.attributes["classes"], CLASSES["digits"])
        test = digits.splits["test"]
        rows = image_rows("digits", "test", 14)
        shards = rows[0::2] + rows[1::2]
        first = int(test.groups.min())
        self.assertEqual(sorted(test.groups - first), list(range(14)))
        self.assertNotEqual(test.groups.tolist(), sorted(test.groups))
        self.assertEqual(test.arrays["labels"].tolist(), [shards[group - first]["label"] for group in test.groups])
        self.assertEqual(test.arrays["images"].shape, (14, 3, PIXELS, PIXELS))

    def test_what_is_there_and_whole_is_not_made_again(self):
        self.clip()
        whole = self.out("pack.h5").read_bytes()
        part = self.out("parts/pets/test.npy")
        part.write_bytes(part.read_bytes()[:-1])
        self.out("pack.h5").unlink()
        said = self.clip()
        made = {line.split(": ")[1] for line in said.splitlines() if "there already" not in line}
        self.assertEqual(made, {"parts/pets/test.npy", "pack.h5"})
        self.assertEqual(self.out("pack.h5").read_bytes(), whole)

    def test_other_prompts_make_other_heads(self):
        self.clip()
        before = load_file(self.out("heads.safetensors"))["pets.rows"]
        other = json.loads(json.dumps(PROMPTS))
        other["tasks"]["pets"]["templates"] = ["the {}."]
        self.write_prompts(other)
        said = self.clip()
        self.assertIn("parts/pets/test.npy: there already", said)
        self.assertFalse(np.array_equal(load_file(self.out("heads.safetensors"))["pets.rows"], before))

    @needs_program
    def test_the_program_makes_a_zoo_of_it(self):
        self.suite["tasks"]["pets"]["expert"] = None  # an unseen task
        self.clip(program=PROGRAM)
        zoo = json.loads(self.out("zoo.json").read_text())
        self.assertEqual(zoo["tasks"], ["digits", "pets"])
        self.assertEqual([expert["name"] for expert in zoo["experts"]], ["digits"])
        self.clip(program=PROGRAM)  # again
        self.verify()

    @needs_program
    def test_adapters_of_the_vision_tower_are_experts(self):
        cache(self.folder / "hub", "models", "me/digits-lora", clip_adapter_files(self.folder, "digits"))
        self.suite["tasks"]["digits"]["expert"] = "me/digits-lora"
        self.clip("--tasks", "1", program=PROGRAM)
        self.assertEqual(json.loads(self.out("zoo.json").read_text())["tasks"], ["digits"])

    def test_prompts_must_have_all_tasks_and_classes(self):
        self.refuses("needs --prompts FILE", "clip", self.suite, "--size", "tiny")
        for part in ("classes", "templates"):
            broken = json.loads(json.dumps(PROMPTS))
            del broken["tasks"]["pets"][part]
            self.write_prompts(broken)
            self.refuses_clip(f"must give the {part} of task 'pets', but has none")
        broken = json.loads(json.dumps(PROMPTS))
        broken["tasks"]["digits"]["classes"].pop()
        self.write_prompts(broken)
        self.refuses_clip("has 3 classes, but the prompts file has 2")
        broken["tasks"]["digits"]["classes"] = ["one", "zero", "two"]
        self.write_prompts(broken)
        self.refuses_clip("in another order: label 0 is 'zero' and not 'one'")
        broken["tasks"]["digits"] |= {"classes": CLASSES["digits"], "templates": ["a photo"]}
        self.write_prompts(broken)
        self.refuses_clip("a template must have a {} for the class, but one is 'a photo'")

    def test_splits_must_have_the_published_number_of_examples(self):
        self.suite["tasks"]["digits"]["counts"]["test"] = 15
        self.refuses_clip("split 'test' must have 15 examples, but has 14")
        self.clip("--any-counts")

    def test_a_missing_blob_and_interrupted_downloads_are_refused(self):
        expert = self.repository("models--me--clip-vit-tiny_pets")
        weights = next((expert / "snapshots").iterdir()) / "model.safetensors"
        blob = weights.resolve()
        content = blob.read_bytes()
        blob.write_bytes(content[:-1])
        self.refuses_clip("must be as long as its header says")
        blob.unlink()
        self.refuses_clip("the blob .* is missing; download me/clip-vit-tiny_pets again")
        (expert / "blobs/abc.incomplete").write_bytes(b"")
        self.refuses_clip("a download was interrupted and left abc.incomplete")
        shutil.rmtree(expert)
        self.refuses_clip("'me/clip-vit-tiny_pets' must be a folder or a repository in a hub cache")

    def test_a_missing_shard_is_refused(self):
        snapshot = next((self.repository("datasets--me--digits") / "snapshots").iterdir())
        (snapshot / "data/train-00001-of-00002.parquet").unlink()
        self.refuses_clip("split 'train' must have 2 files, but 1 are there")

    def test_an_expert_of_another_base_is_refused(self):
        shutil.rmtree(self.repository("models--openai--clip-vit-tiny"))
        files = clip_base_files(self.folder)
        cache(self.folder / "hub", "models", "openai/clip-vit-tiny", files)
        expert = self.repository("models--me--clip-vit-tiny_digits")
        shutil.rmtree(expert)
        files = clip_expert_files(self.folder, "digits", patch=4)
        cache(self.folder / "hub", "models", "me/clip-vit-tiny_digits", files)
        self.refuses_clip("must be an expert of the base .*, but embeddings.patch_embedding.weight is")

    def test_other_columns_and_labels_are_refused(self):
        rows = {split: image_rows("digits", split, 12) for split in ("train", "test")}
        named = {
            split: [{"picture": row["image"], "label": row["label"]} for row in some] for split, some in rows.items()
        }
        self.replace_digits(parquet_files(named))
        self.refuses_clip("must have the column 'image', but has picture, label")
        self.suite["tasks"]["digits"]["columns"] = {"image": "picture"}
        self.clip()
        rows["test"][3]["label"] = -1
        del self.suite["tasks"]["digits"]["columns"]
        self.replace_digits(parquet_files(rows))
        self.refuses_clip("a label must be less than 3 or the name of a class, but one is '-1'")
        rows["test"][3] |= {"label": 0, "image": {"bytes": b"no picture", "path": None}}
        self.replace_digits(parquet_files(rows))
        self.refuses_clip("an image cannot be read")

    def replace_digits(self, files):
        shutil.rmtree(self.repository("datasets--me--digits"))
        cache(self.folder / "hub", "datasets", "me/digits", files)
        self.suite["tasks"]["digits"].pop("counts", None)

    def test_a_base_says_how_images_are_prepared(self):
        snapshot = next((self.repository("models--openai--clip-vit-tiny") / "snapshots").iterdir())
        blob = (snapshot / "preprocessor_config.json").resolve()
        config = json.loads(blob.read_bytes())
        blob.write_bytes(as_json(config | {"do_center_crop": False}))
        self.refuses_clip("do_center_crop must be true, but it is false")
        blob.write_bytes(as_json(config | {"size": {"height": 24, "width": 24}}))
        self.refuses_clip("size must have a shortest_edge")
        (snapshot / "preprocessor_config.json").unlink()
        self.refuses_clip("must say how images are prepared, but is missing")

    def test_published_suites_come_along(self):
        clip = read_suite(SUITES / "clip20.json", "large-patch14", "8")
        self.assertEqual(clip.base, "openai/clip-vit-large-patch14")
        self.assertEqual(clip.tasks[1].expert, "tanganke/clip-vit-large-patch14_stanford-cars")
        self.assertEqual(sum(task.counts["test"] for task in clip.tasks), 87433)
        self.assertEqual(len(read_suite(SUITES / "clip20.json", "base-patch32", None).tasks), 20)
        self.assertEqual(len(read_suite(SUITES / "gpt2_glue7.json", None, None).tasks), 7)
        with self.assertRaisesRegex(ValueError, "give --size"):
            read_suite(SUITES / "clip20.json", None, None)

    def test_a_suite_has_known_fields(self):
        self.suite["tasks"]["pets"]["dataset"] = "pets"
        self.refuses_clip("task 'pets': there is no field 'dataset'. Known: ")
        self.suite["tasks"]["pets"].pop("dataset")
        self.refuses_clip("--tasks: .* has no task 'cars'. Known: digits, pets", "--tasks", "cars")
        self.clip("--tasks", "1")
        self.assertEqual([task.name for task in read_task_pack(self.out("pack.h5")).tasks], ["digits"])


if __name__ == "__main__":
    unittest.main()
