"""The text suites: which tasks, how many examples, and the pool that their bases are pretrained on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from packs.pretraining_pool import PretrainingPool, TextSource
from packs.sources import manifest_sha256
from packs.stable import random_stream
from packs.task_pack import Split, Task, TaskPack
from packs.tokens import Ragged, TokenTable

from .candidates import Pool, held_out_texts
from .corpus import Corpus, make_corpus
from .selection import Example, choose_splits, group_numbers, unambiguous, without_equal_rows
from .tasks import SPLIT_RULE, Inputs, make_pools
from .tokenizer import SEPARATOR, START, VOCABULARY, RowMaker, byte_level_table, train_tokenizer

MANIFEST = Path(__file__).with_name("sources.txt")
TASK_LENGTH = 40  # tokens of a row
POOL_LENGTH = 32
_PAIRS = 60000  # of a source


@dataclass(frozen=True)
class Scale:
    suite: str
    tasks: tuple[str, ...]
    caps: dict[str, int]  # examples of a split


_EIGHT = ("noun24", "pos4", "artifact13", "lang16", "country20", "emoji9", "stress3", "vowel15")
SCALES = {
    "small": Scale("text8", _EIGHT, {"train": 4000, "val": 500, "test": 1000}),
    "medium": Scale("text10", (*_EIGHT, "verb14", "rel3"), {"train": 16000, "val": 1000, "test": 2000}),
}


def make_text_pack(inputs: Inputs, scale: Scale, vocabulary: int = VOCABULARY) -> TaskPack:
    pools = make_pools(inputs)
    keeper = held_out_texts(pools.values())
    # Trained on what every scale's base is pretrained on, so that all scales share one vocabulary.
    tokenizer = train_tokenizer(make_corpus(inputs, keeper).texts, vocabulary)
    tokens = byte_level_table(tokenizer)
    maker = RowMaker(tokenizer, tokens, START, SEPARATOR)
    tasks = tuple(_make_task(pools[name], keeper, maker, scale, len(tokens)) for name in sorted(scale.tasks))
    return TaskPack(scale.suite, manifest_sha256(MANIFEST), tasks, tokens)


def _make_task(pool: Pool, keeper: dict[str, str], maker: RowMaker, scale: Scale, vocabulary: int) -> Task:
    candidates = unambiguous(pool, keeper)
    rows = maker.rows([candidate.texts for candidate in candidates], TASK_LENGTH)
    examples = without_equal_rows(
        [Example(row, candidate.label, candidate.group) for row, candidate in zip(rows, candidates)]
    )
    chosen = choose_splits(pool.name, len(pool.classes), scale.caps, examples)
    groups = group_numbers(chosen)
    return Task(
        pool.name, "classify", pool.title, pool.licence, pool.source, pool.group_meaning, SPLIT_RULE,
        {"classes": list(pool.classes)},
        {name: _make_split(split, groups[name], vocabulary) for name, split in chosen.items()},
    )  # fmt: skip


def _make_split(examples: Sequence[Example], groups: np.ndarray, vocabulary: int) -> Split:
    arrays = {
        "tokens": Ragged.from_rows([example.row for example in examples], vocabulary),
        "labels": np.array([example.label for example in examples], np.uint16),
    }
    return Split(arrays, groups)


def make_text_pool(inputs: Inputs, tokens: TokenTable) -> PretrainingPool:
    """With the tokenizer of a pack, so that the ids of both mean the same."""
    tokenizer = Tokenizer.from_str(tokens.tokenizer.decode())
    maker = RowMaker(tokenizer, tokens, START, SEPARATOR)
    corpus = make_corpus(inputs, held_out_texts(make_pools(inputs).values()))
    sources = _make_sources(corpus, maker, len(tokens))
    return PretrainingPool(manifest_sha256(MANIFEST), sources, tokens)


def _make_sources(corpus: Corpus, maker: RowMaker, vocabulary: int) -> tuple[TextSource, ...]:
    def ragged(texts: Sequence[str]) -> Ragged:
        return Ragged.from_rows(maker.rows([(text,) for text in texts], POOL_LENGTH), vocabulary)

    sources = [TextSource("corpus", 1.0, ragged(mixed("corpus", corpus.texts)))]
    for source in corpus.pairs:
        pairs = mixed(source.name, source.pairs)[:_PAIRS]
        first, second = zip(*pairs)
        sources.append(TextSource(source.name, source.share, ragged(first), ragged(second)))
    return tuple(sorted(sources, key=lambda source: source.name))


def mixed(name: str, items: Sequence) -> list:
    return [items[i] for i in random_stream(f"pool/{name}").permutation(len(items)).tolist()]


def describe(pack: TaskPack) -> list[str]:
    """One line for each split: how much there is, and how much could be had by guessing."""
    lines = []
    for task in pack.tasks:
        for name, split in task.splits.items():
            labels, tokens = split.arrays["labels"], split.arrays["tokens"]
            most = max(Counter(labels.tolist()).values()) / len(split)
            lines.append(
                f"{task.name}/{name}: {len(split)} examples, {len(np.unique(split.groups))} groups, "
                f"{len(task.attributes['classes'])} classes (the largest {most:.0%}), "
                f"{len(tokens.values) / len(split):.1f} tokens"
            )
    return lines
