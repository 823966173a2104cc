"""The eight tasks of the embedded suite, in the order in which they are stored."""

from collections.abc import Iterator

from .glyph_tasks import (
    make_cyrillic32,
    make_fontid12,
    make_hebrew22,
    make_svdigits,
    make_upper26,
)
from .image_tasks import make_fashion, make_mnist, make_terrain10
from .task import Inputs, Task

_MAKERS = (
    make_fashion,
    make_mnist,
    make_svdigits,
    make_upper26,
    make_hebrew22,
    make_cyrillic32,
    make_fontid12,
    make_terrain10,
)


def make_tasks(inputs: Inputs) -> Iterator[Task]:
    for make in _MAKERS:
        yield make(inputs)
