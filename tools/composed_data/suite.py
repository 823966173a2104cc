"""The suite composed6: pairs of scenes and captions, captions to be written, and four kinds of questions."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from packs.sources import manifest_sha256
from packs.stable import random_stream, stable_hash
from packs.task_pack import SPLITS, Split, Task, TaskPack
from packs.tokens import Ragged, TokenTable
from pair_data.suite import MANIFEST

from .parts import COLOURS, KINDS, Part
from .parts import SIDE as PART_SIDE

SUITE = "composed6"
SIDE = 32  # pixels
CELL = SIDE // 2
PLACES = ("top left", "top right", "bottom left", "bottom right")
COUNTS = ("none", "one", "more")
SIZES = {"train": 6000, "val": 400, "test": 800}

_PAD, _START, _END = "<pad>", "<cls>", "</s>"
_SPECIAL = (_PAD, _START, _END)
_WORDS = ("a", "an", "and", "the", "what", "where", "how", "many", "is", "are", "kind", "colour", "thing", "there", "?")

_LICENCE = "pictures Apache-2.0 (Noto Emoji), names and lists Unicode-DFS-2016"
_SOURCE = "fonts-noto-color-emoji 2.042-0+deb12u1; unicode-cldr-core 41-0.1; unicode-data 15.0.0-1"
_GROUP = "one set of parts, wherever they stand"
_RULE = "by the hash of the set of parts: 15/20 train, 1/20 val, 4/20 test"


@dataclass(frozen=True)
class Scene:
    parts: dict[int, Part]  # by place, in the order of PLACES
    image: np.ndarray  # uint8 [3, SIDE, SIDE]

    @property
    def key(self) -> str:
        """The same for scenes of the same parts."""
        return key_of(self.parts.values())

    def caption(self) -> str:
        return " and ".join(f"{PLACES[place]} {_article(part.word)} {part.word}" for place, part in self.parts.items())


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def key_of(parts: Iterable[Part]) -> str:
    return "/".join(sorted(part.word for part in parts))


def split_of(key: str) -> str:
    place = stable_hash(f"composed/{key}") % 20
    return "test" if place < 4 else "val" if place < 5 else "train"


def scenes_of(parts: list[Part], split: str, count: int) -> list[Scene]:
    """Different ones: of one to four different parts in as many of the four places."""
    rng = random_stream(f"composed/{split}")
    scenes: list[Scene] = []
    seen: set[str] = set()
    while len(scenes) < count:
        number = 1 + int(rng.integers(4))
        chosen = [parts[i] for i in rng.permutation(len(parts))[:number]]
        places = sorted(rng.permutation(len(PLACES))[:number].tolist())
        shifts = rng.integers(CELL - PART_SIDE + 1, size=(number, 2))
        if split_of(key_of(chosen)) != split:
            continue
        scene = Scene(dict(zip(places, chosen)), _drawn(zip(places, chosen, shifts.tolist())))
        if scene.caption() not in seen:
            seen.add(scene.caption())
            scenes.append(scene)
    return scenes


def _drawn(placed: Iterable[tuple[int, Part, list[int]]]) -> np.ndarray:
    image = np.full((3, SIDE, SIDE), 255, np.uint8)
    for place, part, (down, right) in placed:
        top, left = place // 2 * CELL + down, place % 2 * CELL + right
        image[:, top : top + PART_SIDE, left : left + PART_SIDE] = part.drawing
    return image


# ---- questions: of a scene and random numbers, a text and its label


def _count(scene: Scene, rng: np.random.Generator) -> tuple[str, int]:
    """Every number is asked for about as often as the scenes allow."""
    counts = {kind: sum(part.kind == kind for part in scene.parts.values()) for kind in KINDS}
    by_count: dict[int, list[str]] = {}
    for kind, count in counts.items():
        by_count.setdefault(min(count, len(COUNTS) - 1), []).append(kind)
    label = sorted(by_count)[int(rng.integers(len(by_count)))]
    kind = by_count[label][int(rng.integers(len(by_count[label])))]
    return f"how many {kind}s are there ?", label


def _chosen(scene: Scene, rng: np.random.Generator) -> tuple[int, Part]:
    return list(scene.parts.items())[int(rng.integers(len(scene.parts)))]


def _colour(scene: Scene, rng: np.random.Generator) -> tuple[str, int]:
    place, part = _chosen(scene, rng)
    return f"what colour is the thing {PLACES[place]} ?", COLOURS.index(part.colour)


def _kind(scene: Scene, rng: np.random.Generator) -> tuple[str, int]:
    place, part = _chosen(scene, rng)
    return f"what kind is the thing {PLACES[place]} ?", list(KINDS).index(part.kind)


def _position(scene: Scene, rng: np.random.Generator) -> tuple[str, int]:
    place, part = _chosen(scene, rng)
    return f"where is the {part.word} ?", place


Question = Callable[[Scene, np.random.Generator], tuple[str, int]]
QUESTIONS: dict[str, tuple[Question, tuple[str, ...], str]] = {
    "colour": (_colour, COLOURS, "which colour the thing at a place has"),
    "count": (_count, COUNTS, "how many things of a kind there are"),
    "kind": (_kind, tuple(KINDS), "of which kind the thing at a place is"),
    "position": (_position, PLACES, "at which place a thing is"),
}


# ---- the pack


def word_table(parts: list[Part]) -> tuple[Tokenizer, TokenTable]:
    """A token for each word; others are an error."""
    words = {word for place in PLACES for word in place.split()} | set(_WORDS) | {part.word for part in parts}
    words |= {f"{kind}s" for kind in KINDS}
    vocabulary = {word: i for i, word in enumerate((*_SPECIAL, *sorted(words)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}", special_tokens=[(name, vocabulary[name]) for name in (_START, _END)]
    )
    content = tokenizer.to_str().encode()
    return tokenizer, TokenTable(
        tokenizer=content,
        tokenizer_sha256=hashlib.sha256(content).hexdigest(),
        table=tuple(word.encode() if word in _SPECIAL else b" " + word.encode() for word in vocabulary),
        special=frozenset(vocabulary[name] for name in _SPECIAL),
        pad=vocabulary[_PAD],
        mask=None,
    )


def make_composed_pack(parts: list[Part], sizes: dict[str, int]) -> TaskPack:
    """sizes: scenes of each split, which all tasks have."""
    tokenizer, tokens = word_table(parts)
    maker = _Maker({split: scenes_of(parts, split, sizes[split]) for split in SPLITS}, tokenizer, tokens)
    tasks = [maker.pairs(), maker.captions(), *map(maker.questions, QUESTIONS)]
    return TaskPack(SUITE, manifest_sha256(MANIFEST), tuple(sorted(tasks, key=lambda task: task.name)), tokens)


def describe(pack: TaskPack) -> list[str]:
    sizes = ", ".join(f"{len(pack.tasks[0].splits[split])} {split}" for split in SPLITS)
    return [f"{task.name}: {sizes}" for task in pack.tasks]


class _Maker:
    def __init__(self, scenes: dict[str, list[Scene]], tokenizer: Tokenizer, tokens: TokenTable) -> None:
        self._scenes = scenes
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._images = {split: np.stack([scene.image for scene in of]) for split, of in scenes.items()}
        keys = sorted({scene.key for of in scenes.values() for scene in of})
        number = {key: i for i, key in enumerate(keys)}
        self._groups = {split: np.array([number[s.key] for s in of], np.uint32) for split, of in scenes.items()}

    def pairs(self) -> Task:
        arrays = {split: {"tokens": self._rows(self._captions(split))} for split in SPLITS}
        return self._task("pairs", "retrieve", "scenes with their captions", {}, arrays)

    def captions(self) -> Task:
        """The prompt is the token that rows begin with."""
        start = self._tokens.table.index(_START.encode())
        attributes = {
            "answer_start": start,
            "answer_end": self._tokens.table.index(_END.encode()),
            "longest_answer": max(len(row) - 1 for split in SPLITS for row in self._ids(self._captions(split))),
        }
        arrays = {
            split: {
                "tokens": Ragged.from_rows([[start]] * len(self._scenes[split]), len(self._tokens)),
                "answers": Ragged.from_rows([row[1:] for row in self._ids(self._captions(split))], len(self._tokens)),
            }
            for split in SPLITS
        }
        return self._task("caption", "generate", "a scene in words", attributes, arrays)

    def questions(self, name: str) -> Task:
        question, classes, title = QUESTIONS[name]
        arrays = {}
        for split in SPLITS:
            rng = random_stream(f"composed/{name}/{split}")
            asked = [question(scene, rng) for scene in self._scenes[split]]
            labels = np.array([label for _, label in asked], np.uint16)
            arrays[split] = {"tokens": self._rows([text for text, _ in asked]), "labels": labels}
        return self._task(name, "classify", title, {"classes": list(classes)}, arrays)

    def _captions(self, split: str) -> list[str]:
        return [scene.caption() for scene in self._scenes[split]]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [encoded.ids for encoded in self._tokenizer.encode_batch(texts)]

    def _rows(self, texts: list[str]) -> Ragged:
        return Ragged.from_rows(self._ids(texts), len(self._tokens))

    def _task(self, name: str, kind: str, title: str, attributes: dict, arrays: dict[str, dict]) -> Task:
        splits = {
            split: Split({"images": self._images[split], **arrays[split]}, self._groups[split]) for split in SPLITS
        }
        return Task(name, kind, title, _LICENCE, _SOURCE, _GROUP, _RULE, attributes, splits)
