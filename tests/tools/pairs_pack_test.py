import unittest

import numpy as np

import support  # noqa: F401  (finds tools/)
from packs.task_pack import SPLITS, read_task_pack, write_task_pack
from pair_data.emoji import LANGUAGES, SIDE, Emoji, roles_of
from pair_data.suite import CELLS, LENGTH, make_pairs_pack, split_of
from support import FolderTest

TONES = ("", "\U0001f3fb", "\U0001f3fc", "\U0001f3fd", "\U0001f3fe", "\U0001f3ff")
PEOPLE = {"\U0001f9d1": "person", "\U0001f468": "man", "\U0001f469": "woman"}
COOK, PILOT = "\u200d\U0001f373", "\u200d\u2708\ufe0f"


def drawn(characters: str, names: dict[str, str], styles=("noto", "one")) -> Emoji:
    rng = np.random.RandomState([ord(character) for character in characters])
    image = rng.randint(0, 256, (3, SIDE, SIDE)).astype(np.uint8)
    return Emoji(characters, names, {style: image for style in styles})


def small_world() -> list[Emoji]:
    emoji = []
    for person, form in PEOPLE.items():
        for job, what in ((COOK, "cook"), (PILOT, "pilot")):
            for tone in TONES:
                names = {language: f"{language} {form} {what} {tone and ord(tone)}" for language in LANGUAGES}
                emoji.append(drawn(person + tone + job, names))
    for point in range(0x1F400, 0x1F440):
        names = {language: f"{language} animal {point}" for language in LANGUAGES}
        emoji.append(drawn(chr(point), names, ("noto",) if point % 2 else ("noto", "one")))
    return sorted(emoji, key=lambda each: each.key)


class RolesTest(unittest.TestCase):
    def test_a_role_has_three_forms_in_all_tones(self):
        roles = roles_of(each.key for each in small_world())
        self.assertEqual([len(role.members) for role in roles], [18, 18])
        self.assertEqual(set(roles[0].forms), {"person", "man", "woman"})
        for role in roles:
            self.assertFalse(any(tone in form for form in role.forms.values() for tone in TONES if tone))

    def test_signs_tell_genders_too(self):
        keys = ["\U0001f3c3", "\U0001f3c3\u200d\u2640", "\U0001f3c3\U0001f3fd\u200d\u2642", "\U0001f3c3\u200d\u2642"]
        (role,) = roles_of(keys)
        self.assertEqual(role.forms["woman"], keys[1])
        self.assertEqual(len(role.members), 4)
        self.assertEqual(roles_of(keys[:2]), [], "a role without men")


class PairsPackTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.emoji = small_world()
        cls.pack = make_pairs_pack(cls.emoji, vocabulary=400)

    def test_is_the_same_bytes_each_time_and_reads_back(self):
        write_task_pack(self.folder / "one.h5", self.pack)
        write_task_pack(self.folder / "two.h5", make_pairs_pack(self.emoji, vocabulary=400))
        self.assertEqual((self.folder / "one.h5").read_bytes(), (self.folder / "two.h5").read_bytes())
        self.assertEqual({task.name for task in read_task_pack(self.folder / "one.h5").tasks}, {t.name for t in self.pack.tasks})

    def test_no_emoji_is_in_two_splits_of_any_task(self):
        splits: dict[int, str] = {}
        for task in self.pack.tasks:
            for name in SPLITS:
                for group in task.splits[name].groups.tolist():
                    self.assertEqual(splits.setdefault(group, name), name)
                    self.assertEqual(split_of(self.emoji[group].key), name)

    def test_rows_are_the_names_of_their_pictures(self):
        tasks = {task.name: task for task in self.pack.tasks}
        for style, language in CELLS:
            split = tasks[f"{style}_{language}"].splits["train"]
            for i, group in enumerate(split.groups.tolist()):
                row = split.arrays["tokens"].row(i).tolist()
                self.assertLessEqual(len(row), LENGTH)
                self.assertTrue(self.emoji[group].names[language].startswith(self.pack.tokens.text(row).strip()))
                self.assertTrue((split.arrays["images"][i] == self.emoji[group].drawings[style]).all())
                self.assertEqual(self.pack.tokens.table[row[-1]], b"</s>")

    def test_prompts_are_names_of_each_class(self):
        (task,) = (task for task in self.pack.tasks if task.name == "role_de")
        self.assertEqual(len(task.attributes["prompts"]), len(task.attributes["classes"]))
        for rows, name in zip(task.attributes["prompts"], task.attributes["classes"]):
            what = name.split()[2]
            self.assertEqual([self.pack.tokens.text(row).split()[1:3] for row in rows],
                             [["person", what], ["man", what], ["woman", what]])  # fmt: skip


if __name__ == "__main__":
    unittest.main()
