"""The suite emoji_pairs: pictures of emoji with their names, and what people do as zero-shot classification."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import processors

from packs.sources import manifest_sha256
from packs.stable import random_stream, stable_hash
from packs.task_pack import SPLITS, Split, Task, TaskPack
from packs.tokens import Ragged
from text_data.tokenizer import END, START, RowMaker, byte_level_table, train_tokenizer

from .emoji import LANGUAGES, Emoji, Role, roles_of

SUITE = "emoji_pairs"
MANIFEST = Path(__file__).with_name("sources.txt")
VOCABULARY = 1024
LENGTH = 32  # tokens of a row; longer names are cut after a whole word

# What models are trained on or tried on: drawings of a style with names in a language.
CELLS = (
    ("noto", "en"), ("noto", "de"), ("noto", "fr"), ("noto", "es"), ("noto", "cs"), ("one", "en"), ("one", "de"),
    ("one", "fr"),
)  # fmt: skip

_LICENCES = {
    "noto": "pictures Apache-2.0 (Noto Emoji), names Unicode-DFS-2016",
    "one": "pictures CC-BY-SA-4.0 (EmojiOne), names Unicode-DFS-2016",
}
_STYLES = {"noto": "Noto", "one": "EmojiOne"}
_PACKAGES = {"noto": "fonts-noto-color-emoji 2.042-0+deb12u1", "one": "ruby-gemojione 3.3.0-1"}
_LANGUAGE_NAMES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "cs": "Czech"}
_GROUP = "one emoji, in all drawings and languages"
_RULE = "by the hash of the emoji: 14/20 train, 2/20 val, 4/20 test"
_SMALLEST_ROLE = 12  # emoji


def split_of(key: str) -> str:
    place = stable_hash(f"pairs/{key}") % 20
    return "test" if place < 4 else "val" if place < 6 else "train"


def make_pairs_pack(emoji: list[Emoji], vocabulary: int = VOCABULARY) -> TaskPack:
    texts = [each.names[language] for each in emoji if split_of(each.key) == "train" for language in LANGUAGES]
    tokenizer = train_tokenizer(texts, vocabulary)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(name, tokenizer.token_to_id(name)) for name in (START, END)]
    )
    tokens = byte_level_table(tokenizer)
    maker = _Maker(emoji, RowMaker(tokenizer, tokens, START, END), len(tokens))
    tasks = [maker.names(style, language) for style, language in CELLS]
    tasks += [maker.roles(language) for language in LANGUAGES]
    return TaskPack(SUITE, manifest_sha256(MANIFEST), tuple(sorted(tasks, key=lambda task: task.name)), tokens)


def describe(pack: TaskPack) -> list[str]:
    lines = []
    for task in pack.tasks:
        sizes = ", ".join(f"{len(task.splits[split])} {split}" for split in SPLITS)
        classes = f", {len(task.attributes['classes'])} classes" if "classes" in task.attributes else ""
        lines.append(f"{task.name}: {sizes}{classes}")
    return lines


@dataclass(frozen=True)
class _Maker:
    emoji: list[Emoji]
    row_maker: RowMaker
    vocabulary: int
    images: dict = field(default_factory=dict)  # by style and numbers

    def names(self, style: str, language: str) -> Task:
        """Pictures with their names."""
        chosen = self._dealt([i for i, each in enumerate(self.emoji) if style in each.drawings])

        def split(of: list[int]) -> Split:
            rows = self.row_maker.rows([(self.emoji[i].names[language],) for i in of], LENGTH)
            return Split(
                {"images": self._images(of, style), "tokens": Ragged.from_rows(rows, self.vocabulary)},
                np.array(of, np.uint32),
            )

        return _task(
            f"{style}_{language}", "retrieve", style, language,
            f"{_STYLES[style]} emoji with their names in {_LANGUAGE_NAMES[language]}", {},
            {name: split(of) for name, of in chosen.items()},
        )  # fmt: skip

    def roles(self, language: str) -> Task:
        """What people do, of which the names of its three forms are the prompts."""
        number = {each.key: i for i, each in enumerate(self.emoji)}
        roles = [role for role in roles_of(number) if len(role.members) >= _SMALLEST_ROLE]
        label = {number[key]: i for i, role in enumerate(roles) for key in role.members}
        prompts = [self._prompts(role, number, language) for role in roles]

        def split(of: list[int]) -> Split:
            labels = np.array([label[i] for i in of], np.uint16)
            return Split({"images": self._images(of, "noto"), "labels": labels}, np.array(of, np.uint32))

        classes = [self.emoji[number[role.forms["person"]]].names["en"] for role in roles]
        return _task(
            f"role_{language}", "classify", "noto", language,
            f"what people do, by its names in {_LANGUAGE_NAMES[language]}", {"classes": classes, "prompts": prompts},
            {name: split(of) for name, of in self._dealt(sorted(label)).items()},
        )  # fmt: skip

    def _prompts(self, role: Role, number: dict[str, int], language: str) -> list[list[int]]:
        texts = [(self.emoji[number[role.forms[form]]].names[language],) for form in ("person", "man", "woman")]
        return [list(row) for row in self.row_maker.rows(texts, LENGTH)]

    def _dealt(self, numbers: list[int]) -> dict[str, list[int]]:
        """In mixed order, which is the same in all tasks."""
        order = random_stream("pairs/order").permutation(len(self.emoji))
        ranked = sorted(numbers, key=lambda i: order[i])
        return {split: [i for i in ranked if split_of(self.emoji[i].key) == split] for split in SPLITS}

    def _images(self, numbers: list[int], style: str) -> np.ndarray:
        """One array for the same pictures, which then are in the file once."""
        key = (style, tuple(numbers))
        if key not in self.images:
            self.images[key] = np.stack([self.emoji[i].drawings[style] for i in numbers])
        return self.images[key]


def _task(
    name: str, kind: str, style: str, language: str, title: str, attributes: dict, splits: dict[str, Split]
) -> Task:
    source = f"{_PACKAGES[style]}; unicode-cldr-core 41-0.1, annotations/{language}.xml"
    return Task(name, kind, title, _LICENCES[style], source, _GROUP, _RULE, attributes, splits)
