import unittest

import numpy as np

import support  # noqa: F401  (finds tools/)
from packs.task_pack import read_task_pack, write_task_pack
from scene_data.rays import Camera, round_body, sine_and_cosine, sphere
from scene_data.scene import BOX, CEILING, CLASSES, FLOOR, SPHERE, WALL, make_scene
from scene_data.suite import make_scenes_pack
from support import FolderTest

SIZES = {"train": 6, "val": 2, "test": 3}
SIDE = 24


def camera_of(degrees: float) -> Camera:
    return Camera(1.5, *sine_and_cosine(np.deg2rad(degrees)))


class RaysTest(unittest.TestCase):
    def test_sine_and_cosine_are_those_of_numpy(self):
        for angle in np.linspace(0, np.pi, 50):
            self.assertLess(np.abs(np.subtract(sine_and_cosine(angle), (np.sin(angle), np.cos(angle)))).max(), 1e-15)

    def test_the_camera_turns_vectors_back_as_it_turned_them(self):
        camera = camera_of(17)
        rays = camera.rays(SIDE)
        self.assertTrue(np.allclose((rays**2).sum(0), 1))
        self.assertTrue(np.allclose(camera.seen(rays)[2] / camera.seen(rays)[1], camera_of(0).rays(SIDE)[2] / camera_of(0).rays(SIDE)[1]))
        self.assertTrue((rays[1][-1] < rays[1][0]).all(), "the last row looks down")

    def test_points_of_a_sphere_are_its_radius_away_and_its_normals_look_out(self):
        camera = camera_of(10)
        rays = camera.rays(SIDE)
        centre, radius = (0.1, 0.5, 3.0), 0.5
        (hit,) = sphere(camera, rays, centre, radius)
        self.assertGreater(hit.met.sum(), 10)
        points = np.array(camera.place)[:, None] + hit.distance[hit.met] * rays[:, hit.met]
        off = points - np.array(centre)[:, None]
        self.assertTrue(np.allclose(off, radius * hit.normals[:, hit.met]))

    def test_a_cone_ends_in_a_point(self):
        camera = camera_of(10)
        rays = camera.rays(96)
        near, _ = round_body(camera, rays, 0.0, 3.0, 0.5, 1.0, cone=True)
        points = np.array(camera.place)[:, None] + near.distance[near.met] * rays[:, near.met]
        radius = np.hypot(points[0], points[2] - 3.0)
        self.assertTrue(np.allclose(radius, 0.5 * (1 - points[1]), atol=1e-9))
        self.assertTrue(np.allclose((near.normals[:, near.met] ** 2).sum(0), 1))


class SceneTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.scenes = [make_scene(np.random.RandomState([9, i]), 48) for i in range(12)]

    def test_depth_and_normals_agree(self):
        """Between neighbours on one flat surface the difference of their points is across the normal."""
        rays = Camera(0.0, 0.0, 1.0).rays(48)
        flat = 0
        for scene in self.scenes:
            points = scene.depth * rays / rays[2]
            same = (scene.classes[:, 1:] == scene.classes[:, :-1]) & np.isin(scene.classes[:, 1:], (FLOOR, WALL, BOX, CEILING))
            same &= (scene.normals[:, :, 1:] == scene.normals[:, :, :-1]).all(0)
            across = (points[:, :, 1:] - points[:, :, :-1]) * scene.normals[:, :, 1:]
            # two boxes of one angle may stand behind one another
            self.assertGreater((np.abs(across.sum(0))[same] < 0.01).mean(), 0.99)
            flat += same.sum()
        self.assertGreater(flat, 10000)

    def test_what_is_seen_looks_to_the_camera(self):
        rays = Camera(0.0, 0.0, 1.0).rays(48)
        for scene in self.scenes:
            self.assertLess((rays * scene.normals).sum(0).max(), 0.01)
            self.assertTrue((scene.depth > 0.5).all() and (scene.depth < 8).all())

    def test_there_are_all_classes(self):
        seen = np.unique(np.stack([scene.classes for scene in self.scenes]))
        self.assertEqual(seen.tolist(), list(range(len(CLASSES))))
        self.assertIn(SPHERE, seen)


class ScenesPackTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pack = make_scenes_pack(SIZES, SIDE)

    def test_is_the_same_bytes_each_time_and_reads_back(self):
        one, other = self.folder / "one.h5", self.folder / "other.h5"
        write_task_pack(one, self.pack)
        write_task_pack(other, make_scenes_pack(SIZES, SIDE))
        self.assertEqual(one.read_bytes(), other.read_bytes())
        for task in read_task_pack(one).tasks:
            self.assertEqual({split: len(task.splits[split]) for split in SIZES}, SIZES)

    def test_has_images_once(self):
        path = self.folder / "pack.h5"
        write_task_pack(path, self.pack)
        images = sum(len(split.arrays["images"].tobytes()) for split in self.pack.tasks[0].splits.values())
        maps = sum(split.arrays[name].nbytes for task in self.pack.tasks for split in task.splits.values() for name in split.arrays if name != "images")
        self.assertLess(path.stat().st_size, 2 * images + maps)

    def test_a_smaller_pack_has_the_first_scenes_of_a_larger_one(self):
        small = make_scenes_pack({"train": 2, "val": 1, "test": 1}, SIDE)
        for task, of_small in zip(self.pack.tasks, small.tasks):
            for split, size in (("train", 2), ("val", 1), ("test", 1)):
                for name, array in of_small.splits[split].arrays.items():
                    self.assertTrue((array == task.splits[split].arrays[name][:size]).all())

    def test_no_scene_is_in_two_splits(self):
        images = [image.tobytes() for split in SIZES for image in self.pack.tasks[0].splits[split].arrays["images"]]
        self.assertEqual(len(set(images)), sum(SIZES.values()))

    def test_depths_have_the_scale_of_the_training_split(self):
        depth = next(task for task in self.pack.tasks if task.kind == "depth")
        maps = depth.splits["train"].arrays["map_depth"]
        self.assertAlmostEqual(depth.attributes["mean"], maps.mean(), places=3)
        self.assertAlmostEqual(depth.attributes["sd"], maps.std(), places=3)


if __name__ == "__main__":
    unittest.main()
