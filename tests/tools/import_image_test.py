import hashlib
import json

import numpy as np
from safetensors.numpy import load_file

from import_image_world import image_world, resnet_files, vit_files
from import_support import PROGRAM, ImportTest, needs_program
from import_world import CLASSES, PIXELS, cache, picture
from fusegrid_import.images import read_processor
from packs.task_pack import read_task_pack

# Of transformers 4.57.3 with Pillow: the SHA-256 of 20 prepared pictures.
PICTURES = {
    "vit": (
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 24, "width": 24}, "resample": 2},
        "cb1808346a2443c9990a2c99781b3616f73d477a4437d6a20b790f3dc2800588",
    ),
    "the middle of a larger one": (
        {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 24, "crop_pct": 0.875, "resample": 3},
        "0f0175d37bba1c6a3026372bf8a7e79ae5b00cd1c0b273304b1a29677c774a3d",
    ),
    "the whole image": (
        {"image_processor_type": "ConvNextImageProcessorFast", "size": {"shortest_edge": 384}, "resample": 2},
        "8f7a038580f05b4376c913ed19ccfe792b7cd4a785ceb9ba90aed5ea87d0574e",
    ),
}
FAMILIES = {"vit": (vit_files, "classifier"), "resnet": (resnet_files, "classifier.1")}


class ImageTest(ImportTest):
    def write_processor(self, config):
        (self.folder / "preprocessor_config.json").write_text(json.dumps(config))

    def base(self):
        return next((self.folder / "hub/models--big--base/snapshots").iterdir())

    def change(self, file, **fields):
        """Of the base, whose files are links into blobs."""
        path = self.base() / file
        content = json.loads(path.read_text())
        path.unlink()
        path.write_text(json.dumps(content | fields))

    def test_images_are_those_of_transformers(self):
        for name, (config, expected) in PICTURES.items():
            with self.subTest(name):
                self.write_processor(config)
                processor, digest = read_processor(self.folder), hashlib.sha256()
                for i in range(20):
                    path = self.folder / f"{i}.png"
                    picture(f"golden/{i}").save(path)
                    digest.update(processor({"path": str(path), "bytes": None}, "test").tobytes())
                self.assertEqual(digest.hexdigest(), expected)

    def test_processors_that_do_something_else_are_refused(self):
        vit = PICTURES["vit"][0]
        for expected, config in {
            "one of clip, vit, convnext, but it is BitImageProcessor": {"image_processor_type": "BitImageProcessor"},
            "do_rescale must be true, but it is false": vit | {"do_rescale": False},
            "size must be a square": vit | {"size": {"height": 24, "width": 20}},
        }.items():  # fmt: skip
            self.write_processor(config)
            with self.assertRaisesRegex(ValueError, expected):
                read_processor(self.folder)

    def test_heads_and_classes_are_those_of_the_experts(self):
        for family, (files, head) in FAMILIES.items():
            with self.subTest(family):
                self.folder = self.folder / family
                self.folder.mkdir()
                suite = image_world(self.folder, files)
                self.run_command("image", suite)
                heads = load_file(self.out("heads.safetensors"))
                for task in CLASSES:
                    expert = next((self.folder / f"hub/models--me--{task}/snapshots").iterdir())
                    own = load_file(expert / "model.safetensors")
                    for part in ("weight", "bias"):
                        np.testing.assert_array_equal(heads[f"{task}.{part}"], own[f"{head}.{part}"])
                self.assertEqual(len(heads), 2 * len(CLASSES))
                pack = read_task_pack(self.out("pack.h5"))
                self.assertEqual({task.name: task.attributes["classes"] for task in pack.tasks}, CLASSES)
                self.assertEqual(pack.tasks[1].splits["test"].arrays["images"].shape, (8, 3, PIXELS, PIXELS))
                self.folder = self.folder.parent

    @needs_program
    def test_the_program_makes_a_zoo_of_it(self):
        for family, (files, _) in FAMILIES.items():
            with self.subTest(family):
                self.folder = self.folder / family
                self.folder.mkdir()
                self.run_command("image", image_world(self.folder, files), program=PROGRAM)
                self.verify()
                self.assertEqual(json.loads(self.out("zoo.json").read_text())["tasks"], ["digits", "pets"])
                self.folder = self.folder.parent

    def test_models_and_images_must_fit(self):
        suite = image_world(self.folder, resnet_files)
        self.change("preprocessor_config.json", size=32)
        self.refuses('images of 32 pixels, but its config.json says 24.* "image_size": 32', "image", suite)
        self.change("preprocessor_config.json", size=PIXELS)
        self.change("config.json", model_type="swin")
        self.refuses("model_type must be one of vit, resnet, but it is swin", "image", suite)

    def test_an_expert_must_have_a_head_with_the_classes(self):
        suite = image_world(self.folder, vit_files)
        cache(self.folder / "hub", "models", "me/four", vit_files(self.folder, "four", ["a", "b", "c", "d"]))
        suite["tasks"]["pets"]["expert"] = "me/four"
        self.refuses("has 2 classes, but the head of .* has 4", "image", suite)
        suite["tasks"]["pets"] |= {"classes": ["cat", "dog"]}
        self.refuses("has 4 classes, but the data set, or 'classes' of the suite, has 2", "image", suite)
        cache(self.folder / "hub", "models", "me/none", resnet_files(self.folder, "none", ["a", "b"]))
        suite["tasks"]["pets"]["expert"] = "me/none"
        self.refuses("must be an expert of the base", "image", suite)
