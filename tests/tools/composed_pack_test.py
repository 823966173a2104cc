import unittest

import numpy as np

import support  # noqa: F401  (finds tools/)
from composed_data.parts import COLOURS, KINDS, SIDE, Part, colour_of, parts_of
from composed_data.suite import CELL, COUNTS, PLACES, key_of, make_composed_pack, scenes_of, split_of
from packs.task_pack import SPLITS, read_task_pack, write_task_pack
from pair_data.emoji import Emoji
from support import FolderTest

RGB = {"red": (220, 30, 30), "yellow": (240, 200, 40), "green": (40, 160, 60), "blue": (40, 80, 200),
       "brown": (120, 70, 40), "gray": (120, 120, 120)}  # fmt: skip
SIZES = {"train": 60, "val": 10, "test": 20}


def painted(colour: str, side: int = SIDE) -> np.ndarray:
    drawing = np.full((3, side, side), 255, np.uint8)
    drawing[:, 2:-2, 2:-2] = np.array(RGB[colour], np.uint8)[:, None, None]
    return drawing


def small_world() -> list[Part]:
    words = [f"{kind[:3]}{letter}" for kind in KINDS for letter in "abc"]
    kinds = [kind for kind in KINDS for _ in "abc"]
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(words))]
    return [Part(w, k, c, painted(c)) for w, k, c in zip(words, kinds, colours)]


class PartsTest(unittest.TestCase):
    def test_colours_are_those_of_most_pixels(self):
        for colour in COLOURS:
            self.assertEqual(colour_of(painted(colour)), (colour, 1.0))
        mixed = painted("red")
        mixed[:, :5] = painted("blue")[:, :5]
        self.assertEqual(colour_of(mixed)[0], "red")
        self.assertLess(colour_of(mixed)[1], 1)

    def test_parts_have_one_word_and_a_clear_colour(self):
        def emoji(character: str, name: str, drawing: np.ndarray) -> Emoji:
            return Emoji(character, {"en": name}, {"noto": drawing})

        half = painted("green", 32)
        half[:, :, :16] = painted("blue", 32)[:, :, :16]
        stripes = painted("red", 32)
        stripes[:, :11], stripes[:, 22:] = painted("green", 32)[:, :11], painted("blue", 32)[:, 22:]
        world = [emoji("a", "cat", painted("red", 32)), emoji("b", "fire engine", painted("red", 32)),
                 emoji("c", "lizard", stripes), emoji("d", "house", painted("red", 32))]  # fmt: skip
        parts = parts_of(world, {"a": "animal-mammal", "b": "transport-ground", "c": "animal-reptile", "d": "place"})
        self.assertEqual([(part.word, part.kind, part.colour) for part in parts], [("cat", "animal", "red")])


class ComposedPackTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.parts = small_world()
        cls.scenes = {split: scenes_of(cls.parts, split, SIZES[split]) for split in SPLITS}
        cls.pack = make_composed_pack(cls.parts, SIZES)
        cls.tasks = {task.name: task for task in cls.pack.tasks}

    def text(self, name: str, split: str, i: int, array: str = "tokens") -> str:
        return self.pack.tokens.text(self.tasks[name].splits[split].arrays[array].row(i).tolist())

    def test_is_the_same_bytes_each_time_and_reads_back(self):
        write_task_pack(self.folder / "one.h5", self.pack)
        write_task_pack(self.folder / "two.h5", make_composed_pack(self.parts, SIZES))
        self.assertEqual((self.folder / "one.h5").read_bytes(), (self.folder / "two.h5").read_bytes())
        self.assertEqual({task.name for task in read_task_pack(self.folder / "one.h5").tasks}, set(self.tasks))

    def test_no_set_of_parts_is_in_two_splits(self):
        splits: dict[str, str] = {}
        for split, scenes in self.scenes.items():
            for scene in scenes:
                self.assertEqual(splits.setdefault(scene.key, split), split)
                self.assertEqual(split_of(key_of(reversed(scene.parts.values()))), split, "wherever they stand")

    def test_scenes_show_their_parts_at_their_places(self):
        for scene in self.scenes["test"]:
            for place in range(len(PLACES)):
                top, left = place // 2 * CELL, place % 2 * CELL
                cell = scene.image[:, top : top + CELL, left : left + CELL]
                expected = scene.parts[place].colour if place in scene.parts else "white"
                self.assertEqual(colour_of(cell)[0], expected)

    def test_captions_are_found_and_written_alike(self):
        for split in SPLITS:
            for i, scene in enumerate(self.scenes[split]):
                self.assertEqual(self.text("pairs", split, i), scene.caption())
                self.assertEqual(self.text("caption", split, i, "answers"), scene.caption())
                self.assertEqual(self.text("caption", split, i), "", "the prompt is the token that begins a row")

    def test_questions_have_the_answers_of_their_scenes(self):
        def part_at(scene, words: list[str]) -> Part:
            return scene.parts[PLACES.index(" ".join(words[-3:-1]))]

        for split in SPLITS:
            for i, scene in enumerate(self.scenes[split]):
                words = {name: self.text(name, split, i).split() for name in ("colour", "count", "kind", "position")}
                answer = {
                    name: self.tasks[name].attributes["classes"][self.tasks[name].splits[split].arrays["labels"][i]]
                    for name in words
                }
                self.assertEqual(answer["colour"], part_at(scene, words["colour"]).colour)
                self.assertEqual(answer["kind"], part_at(scene, words["kind"]).kind)
                self.assertEqual(scene.parts[PLACES.index(answer["position"])].word, words["position"][-2])
                count = sum(f"{part.kind}s" == words["count"][2] for part in scene.parts.values())
                self.assertEqual(answer["count"], COUNTS[min(count, len(COUNTS) - 1)])


if __name__ == "__main__":
    unittest.main()
