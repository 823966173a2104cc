"""Draws or selects the examples of one split: balanced, without duplicates, in mixed order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from packs.stable import random_stream

SPLITS = ("train", "val", "test")
IMAGE_SIZE = 28

# One example: image uint8 [28, 28] or [28, 28, 3], and the name of its group.
Example = tuple[np.ndarray, str]
Draw = Callable[[np.random.Generator, int], Example | None]

_MAX_REFUSALS = 1000  # in a row; more means that the faces cannot draw the class at all


@dataclass
class Split:
    """Examples in the order in which they are stored."""

    images: np.ndarray  # uint8 [N, C, 28, 28]
    labels: np.ndarray  # uint16 [N]
    groups: list[str]


@dataclass
class SplitMaker:
    """Makes the splits of one task and refuses an image that the task already holds."""

    task: str
    class_count: int
    _seen: set[bytes] = field(default_factory=set)

    def draw(self, split: str, count: int, draw: Draw) -> Split:
        """`count` generated examples, classes in turn; `draw` may return None to be asked again."""
        rng = random_stream(f"{self.task}/{split}/draw")
        examples: list[Example] = []
        while len(examples) < count:
            examples.append(self._draw_one(rng, len(examples) % self.class_count, draw))
        labels = [i % self.class_count for i in range(count)]
        return self._finish(split, examples, labels)

    def select(self, split: str, candidates: Iterable[tuple[Example, int]], quota: int) -> Split:
        """The first `quota` candidates of every class that are not in the task yet."""
        examples: list[Example] = []
        labels: list[int] = []
        taken = [0] * self.class_count
        for example, label in candidates:
            if taken[label] < quota and self._is_new(example[0]):
                taken[label] += 1
                examples.append(example)
                labels.append(label)
        if min(taken) == 0:
            raise ValueError(f"{self.task}/{split}: every class must occur, found {taken}")
        return self._finish(split, examples, labels)

    def _draw_one(self, rng: np.random.Generator, label: int, draw: Draw) -> Example:
        for _ in range(_MAX_REFUSALS):
            example = draw(rng, label)
            if example is not None and self._is_new(example[0]):
                return example
        raise ValueError(f"{self.task}: class {label} yields no new image")

    def _is_new(self, image: np.ndarray) -> bool:
        content = image.tobytes()
        if content in self._seen:
            return False
        self._seen.add(content)
        return True

    def _finish(self, split: str, examples: list[Example], labels: list[int]) -> Split:
        """Shuffles, so that any prefix mixes the classes, and puts the channel first."""
        order = random_stream(f"{self.task}/{split}/order").permutation(len(examples))
        images = np.stack([channels_first(examples[i][0]) for i in order])
        groups = [examples[i][1] for i in order]
        return Split(images, np.array(labels, np.uint16)[order], groups)


def channels_first(image: np.ndarray) -> np.ndarray:
    return image[None] if image.ndim == 2 else np.ascontiguousarray(image.transpose(2, 0, 1))
