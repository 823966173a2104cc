import unittest
from collections import defaultdict

from support import FolderTest, made_up_grid_pack, made_up_inputs, made_up_pack
from packs.task_pack import check_task_pack
from text_data.candidates import folded, split_of
from text_data.grid import LANGUAGES, make_grid_pack
from text_data.suite import make_text_pool
from text_sources import CONTINENTS, NAME_THAT_IS_A_WORD
from texts import parts, splits_of_texts


class GridPackTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.pack = made_up_grid_pack()
        self.tasks = {task.name: task for task in self.pack.tasks}

    def labelled(self, task: str, split: str) -> dict[str, str]:
        """Text -> name of its class."""
        of_task = self.tasks[task]
        arrays = of_task.splits[split].arrays
        return {
            parts(row.tolist(), self.pack.tokens)[0]: of_task.attributes["classes"][label]
            for row, label in zip(arrays["tokens"].rows(), arrays["labels"])
        }

    def test_has_a_cell_for_each_task_and_language(self):
        self.assertEqual(len(self.tasks), 21)
        self.assertEqual(list(self.tasks), sorted(self.tasks))
        for task, classes in {"emoji": 9, "type": 6, "continent": 4}.items():
            for language in LANGUAGES:
                attributes = self.tasks[f"{task}_{language}"].attributes
                self.assertEqual((attributes["task"], attributes["domain"]), (task, language))
                self.assertEqual(attributes["classes"], self.tasks[f"{task}_en"].attributes["classes"])
                self.assertEqual(len(attributes["classes"]), classes)

    def test_no_text_stands_in_two_splits(self):
        found = splits_of_texts(self.pack)
        self.assertGreater(len(found), 3000)
        self.assertEqual({text: splits for text, splits in found.items() if len(splits) > 1}, {})

    def test_a_concept_is_of_one_split_in_all_languages(self):
        """Names are made up of the concept and an ending of the language."""
        ending = lambda language: language * 2
        splits = defaultdict(set)
        languages = defaultdict(set)
        for language in LANGUAGES:
            for task in ("type", "emoji", "continent"):
                for split in ("train", "val", "test"):
                    for text in self.labelled(f"{task}_{language}", split):
                        concept = text.split(": ")[0].removesuffix("shire").replace(ending(language), "").strip()
                        splits[concept].add(split)
                        languages[concept].add(language)
        self.assertEqual({concept: seen for concept, seen in splits.items() if len(seen) > 1}, {})
        self.assertGreater(sum(len(seen) == len(LANGUAGES) for seen in languages.values()), 400)

    def test_names_are_of_their_type(self):
        beginnings = {"Lang": "language", "Terr": "territory", "Coin": "currency", "emoj": "emoji", "key ": "keyword"}
        count = 0
        for language in LANGUAGES:
            for split in ("train", "val", "test"):
                for text, kind in self.labelled(f"type_{language}", split).items():
                    if text != "Samename everywhere":
                        self.assertEqual(kind, beginnings.get(text[:4], "subdivision"), text)
                        count += 1
        self.assertGreater(count, 3000)

    def test_provinces_are_on_the_continent_of_their_country(self):
        cldr = made_up_inputs().cldr
        countries = list(dict.fromkeys(code[:2].upper() for code in cldr.english.subdivisions))
        names = {code: cldr.english.names[f"territory/{code}"] for code in CONTINENTS}
        count = 0
        for language in LANGUAGES:
            locale = cldr.english if language == "en" else cldr.locales[language]
            codes = {name: code for code, name in locale.subdivisions.items()}
            for split in ("train", "val", "test"):
                for text, continent in self.labelled(f"continent_{language}", split).items():
                    place = countries.index(codes[text][:2].upper()) % 5
                    self.assertEqual(continent, names[CONTINENTS[place]])
                    count += 1
        self.assertGreater(count, 1000)

    def test_bases_of_the_text_suites_have_seen_no_text_of_val_and_test(self):
        pool = make_text_pool(made_up_inputs(), made_up_pack("whole").tokens)
        seen = set()
        for source in pool.sources:
            for ragged in filter(None, (source.tokens, source.partners)):
                seen.update(folded(parts(row.tolist(), pool.tokens)[0]) for row in ragged.rows())
        found = splits_of_texts(self.pack)
        held_out = {text for text, splits in found.items() if splits != {"train"}}
        self.assertGreater(len(held_out), 1000)
        self.assertEqual(held_out & seen, set())
        self.assertIn(folded(NAME_THAT_IS_A_WORD), seen)
        self.assertNotIn(folded(NAME_THAT_IS_A_WORD), found)
        unseen = {
            folded(name)
            for concept, name in made_up_inputs().cldr.english.names.items()
            if concept.startswith("territory/") and split_of(concept) != "train"
        } - seen
        self.assertGreater(len(unseen), 3)
        self.assertEqual(unseen - held_out, set())

    def test_smaller_caps_choose_from_larger(self):
        caps = {"train": 60, "val": 20, "test": 30}
        for task in make_grid_pack(made_up_inputs(), self.pack.tokens, caps).tasks:
            for name, split in task.splits.items():
                self.assertLessEqual(len(split), caps[name])
                whole = set(map(tuple, self.tasks[task.name].splits[name].arrays["tokens"].rows()))
                self.assertLessEqual(set(map(tuple, split.arrays["tokens"].rows())), whole)

    def test_the_checks_of_packs_are_passed(self):
        check_task_pack(self.pack)


if __name__ == "__main__":
    unittest.main()
