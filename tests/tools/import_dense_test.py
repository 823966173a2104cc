import contextlib
import io
import unittest

import numpy as np
from safetensors.numpy import load_file, save_file

import import_dense_world as world
from import_support import PROGRAM, ImportTest, needs_program
from import_world import parquet_files
from packs.task_pack import read_task_pack


class DenseTest(ImportTest):
    def setUp(self):
        super().setUp()
        world.write_rows(self.folder / "rooms", {"train": 12, "val": 6})
        world.write_models(self.folder)
        entry = {"data": "rooms", "splits": {"test": "val"}}
        segmentation = {"kind": "segment", "classes": world.CLASSES}
        self.suite = {
            "suite": "rooms", "base": "base", "expert": "{task}",
            "tasks": {
                "segmentation": entry | segmentation,
                "depth": entry | {"kind": "depth", "columns": {"label": "depth"}},
                "normal": entry | {"kind": "normals", "columns": {"label": "normal"}},
            },
        }  # fmt: skip

    def refuses_dense(self, expected):
        self.refuses(expected, "dense", self.suite)

    def tasks(self):
        return {task.name: task for task in read_task_pack(self.out("pack.h5")).tasks}

    def first_test(self, task):
        """The stored arrays of an example of the test split and the row that it was made of."""
        test = self.tasks()[task].splits["test"]
        number = int(test.groups[0] - 12)  # the data set's val is behind its 12 rows of train
        return {name: array[0] for name, array in test.arrays.items()}, world.row("val", number)

    def test_maps_are_those_of_the_data_set(self):
        said = self.run_command("dense", self.suite)
        self.assertRegex(said, "segmentation/test: images are kept in steps of 1/255, which changed a value by 0.002 at")
        stored, row = self.first_test("segmentation")
        self.assertLessEqual(np.abs(stored["images"].transpose(1, 2, 0) / 255 - row["image"]).max(), 0.5 / 255 + 1e-6)
        np.testing.assert_array_equal(stored["map_classes"], np.where(row["label"] < 0, 3, row["label"]))
        self.assertEqual(self.tasks()["segmentation"].attributes, {"classes": world.CLASSES, "ignore": 3})
        stored, row = self.first_test("depth")
        self.assertTrue(np.isnan(stored["map_depth"][:, :3]).all())
        np.testing.assert_array_equal(stored["map_depth"][:, 3:], row["depth"][:, 3:, 0])
        stored, row = self.first_test("normal")
        self.assertTrue(np.isnan(stored["map_normals"][:, :4]).all())
        np.testing.assert_allclose(stored["map_normals"][:, 4:], row["normal"].transpose(2, 0, 1)[:, 4:], atol=1e-6)
        sizes = {name: len(split) for name, split in self.tasks()["depth"].splits.items()}
        self.assertEqual(sizes, {"train": 11, "val": 1, "test": 6})

    def test_the_hub_has_the_same_with_channels_first(self):
        self.run_command("dense", self.suite)
        from_arrays = self.first_test("normal")[0]
        rows = {split: [world.hub_row(split, i) for i in range(n)] for split, n in (("train", 12), ("val", 6))}
        files = {name.removeprefix("data/"): content for name, content in parquet_files(rows).items()}
        (self.folder / "hub/rows/data").mkdir(parents=True)
        for name, content in files.items():
            (self.folder / "hub/rows/data" / name).write_bytes(content)
        for task in self.suite["tasks"].values():
            task["data"] = "rows"
        self.suite["tasks"]["segmentation"]["columns"] = {"label": "segmentation"}
        self.run_command("dense", self.suite)
        for name, array in self.first_test("normal")[0].items():
            np.testing.assert_array_equal(array, from_arrays[name])

    def test_heads_are_those_of_the_experts(self):
        self.run_command("dense", self.suite)
        heads, state = load_file(self.out("heads.safetensors")), world.expert_state("depth")
        head = "model.decoders.depth."
        np.testing.assert_array_equal(heads["depth.aspp.24.weight"], state[f"{head}0.convs.2.0.weight"])
        np.testing.assert_array_equal(heads["depth.pool.norm.bias"], state[f"{head}0.convs.4.2.bias"])
        np.testing.assert_array_equal(heads["depth.weight"], state[f"{head}4.weight"][:, :, 0, 0])
        body = load_file(self.folder / "depth/model.safetensors")
        name = "encoder.stages.3.layers.1.layer.2.normalization.running_var"
        np.testing.assert_array_equal(body[name], state["model.encoder.layer4.1.bn3.running_var"])

    @needs_program
    def test_a_board_is_made_of_it(self):
        self.run_command("dense", self.suite, program=PROGRAM)
        self.verify()
        self.board("[pretrained]\n[individual]\n[simple_average]\n[ties]\n")

    def test_other_arrays_are_refused(self):
        image = self.folder / "rooms/val/image/3.npy"
        np.save(image, np.full((*world.SIZE, 3), 1.5, np.float32))
        self.refuses_dense("must be uint8, or have numbers from 0 to 1, but one has numbers from 1.5 to 1.5")
        np.save(image, np.zeros((8, 40, 3), np.uint8))
        self.refuses_dense("must have 32 x 40 pixels, as config.json of the base says .*, but one has 8 x 40")
        np.save(image, np.zeros((*world.SIZE, 5), np.uint8))
        self.refuses_dense("an image must have 3 or 1 channels, first or last, but the shape of one is")
        image.write_bytes(b"cut")
        self.refuses_dense("must be a whole array of numbers")
        image.unlink()
        self.refuses_dense("image must have the array 3.npy, but has not")

    def test_other_classes_are_refused(self):
        self.suite["tasks"]["segmentation"]["classes"] = ["floor", "wall"]
        del self.suite["tasks"]["depth"], self.suite["tasks"]["normal"]
        np.save(self.folder / "rooms/val/label/2.npy", np.full(world.SIZE, 5.0))
        self.refuses_dense("must be a whole number less than 2, or -1 or 255 where it has none, but one is")

    def test_wrong_suites_are_refused(self):
        self.suite["tasks"]["depth"]["kind"] = "depths"
        self.refuses_dense("'kind' must be one of segment, depth, normals, but it is 'depths'")
        self.suite["tasks"]["depth"] |= {"kind": "depth", "classes": ["a", "b"]}
        self.refuses_dense("must give 'classes', a list, of a task of the kind segment and of no other")
        del self.suite["tasks"]["depth"]["classes"]
        self.suite["tasks"]["depth"]["expert"] = "base"
        self.refuses_dense("must have a decoder, whose tensors are named head.weight")


class ConvertTest(ImportTest):
    def refuses_state(self, expected, state, *options):
        save_file(state, self.folder / "state.safetensors")
        with self.assertRaisesRegex(ValueError, expected), contextlib.redirect_stderr(io.StringIO()):
            world.convert(self.folder / "state.safetensors", "--out", self.folder / "made", *options)

    def test_other_files_are_refused(self):
        self.refuses_state("--task must name the head of an expert", world.expert_state("depth"))
        self.refuses_state("has the heads depth, normal, segmentation, but --task is sky", world.expert_state("depth"),
                           "--task", "sky")  # fmt: skip
        self.refuses_state("the heads of no task, but --task is depth", world.base_state(), "--task", "depth")
        odd = world.base_state() | {"layer9": np.zeros(1, np.float32)}
        self.refuses_state("the tensor layer9 must be one of a ResNet or a DeepLab head", odd)


if __name__ == "__main__":
    unittest.main()
