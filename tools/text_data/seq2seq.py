"""The text-to-text suite: its pack, and the pool that its bases are pretrained on."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from tokenizers import Tokenizer

from packs.pretraining_pool import PretrainingPool, TextSource
from packs.sources import manifest_sha256
from packs.task_pack import Split, Task, TaskPack
from packs.tokens import Ragged, TokenTable

from .auxiliary import make_auxiliary_tasks
from .candidates import held_out_texts
from .corpus import Pair, free_of, make_corpus
from .generation import GenerationTask, make_generation_tasks
from .selection import Example, choose_splits, group_numbers, unambiguous, without_equal_rows
from .suite import MANIFEST, mixed
from .tasks import SPLIT_RULE, Inputs, make_pools
from .tokenizer import END, RowMaker

SUITE = "seq2seq8"
CAPS = {"train": 6000, "val": 300, "test": 600}
SOURCE_LENGTH = 40  # tokens of a row
ANSWER_LENGTH = 20
SHOTS = 256  # train rows of each task that its bases see before

_SHORTEST_TEXT = 4  # tokens of a row; where fewer are left, hidden ones cannot be guessed
_MOST_PAIRS = 30000  # of an auxiliary task
_SHARES = {"auxiliary": 0.55, "shots": 0.15}  # of a batch, in which texts have the rest
Row = tuple[int, ...]


class _Texts:
    """All that could be asked, and which split keeps which text, over the classification tasks as well: bases of
    both suites are pretrained on the same texts."""

    def __init__(self, inputs: Inputs) -> None:
        pools = make_pools(inputs)
        self.tasks = make_generation_tasks(inputs, pools)
        self.keeper = held_out_texts([*pools.values(), *(task.pool for task in self.tasks)])


def make_seq2seq_pack(inputs: Inputs, tokens: TokenTable, caps: dict[str, int] = CAPS) -> TaskPack:
    """With the tokenizer of a pack of texts."""
    texts = _Texts(inputs)
    maker = _row_maker(tokens)
    tasks = tuple(_make_task(task, texts.keeper, maker, tokens, caps) for task in texts.tasks)
    return TaskPack(SUITE, manifest_sha256(MANIFEST), tasks, tokens)


def _row_maker(tokens: TokenTable) -> RowMaker:
    return RowMaker(Tokenizer.from_str(tokens.tokenizer.decode()), tokens, None, END)


def _asked(question: str, text: str) -> tuple[str]:
    return (f"{question}: {text}",)


def _make_task(
    task: GenerationTask, keeper: dict[str, str], maker: RowMaker, tokens: TokenTable, caps: dict[str, int]
) -> Task:
    pool = task.pool
    answers = maker.rows([(answer,) for answer in pool.classes])
    candidates = [c for c in unambiguous(pool, keeper) if len(answers[c.label]) <= ANSWER_LENGTH]
    rows = maker.rows([_asked(pool.name, c.texts[0]) for c in candidates], SOURCE_LENGTH)
    examples = without_equal_rows(
        [Example(row, candidate.label, candidate.group) for row, candidate in zip(rows, candidates)]
    )
    chosen = choose_splits(pool.name, task.class_count, caps, examples)
    groups = group_numbers(chosen)
    longest = max(len(answers[example.label]) for split in chosen.values() for example in split)
    return Task(
        pool.name, "generate", pool.title, pool.licence, pool.source, pool.group_meaning, SPLIT_RULE,
        {"answer_start": tokens.pad, "answer_end": answers[0][-1], "longest_answer": longest},
        {name: _make_split(split, answers, groups[name], len(tokens)) for name, split in chosen.items()},
    )  # fmt: skip


def _make_split(
    examples: Sequence[Example], answers: Sequence[Row], groups: np.ndarray, vocabulary: int
) -> Split:
    arrays = {
        "tokens": Ragged.from_rows([example.row for example in examples], vocabulary),
        "answers": Ragged.from_rows([answers[example.label] for example in examples], vocabulary),
    }
    return Split(arrays, groups)


# ---- pretraining -------------------------------------------------------------------------------


def make_seq2seq_pool(inputs: Inputs, pack: TaskPack) -> PretrainingPool:
    """Texts, other questions than those of the tasks, and a few train rows of each task of the pack."""
    tokens = pack.tokens
    maker = _row_maker(tokens)
    keeper = _Texts(inputs).keeper
    sources = [
        TextSource("texts", 1.0, Ragged.from_rows(_texts(make_corpus(inputs, keeper).texts, maker), len(tokens))),
        *_auxiliary_sources(make_auxiliary_tasks(inputs, free_of(keeper)), maker, len(tokens)),
        _shots(pack, len(tokens)),
    ]
    return PretrainingPool(pack.sources_sha256, tuple(sorted(sources, key=lambda s: s.name)), tokens)


def _texts(texts: Sequence[str], maker: RowMaker) -> list[Row]:
    """Those that fit: cut ones could be equal to a cut one of a val or test split."""
    rows = maker.rows([(text,) for text in mixed("seq2seq/texts", texts)])
    return [row for row in rows if _SHORTEST_TEXT <= len(row) <= SOURCE_LENGTH]


def _auxiliary_sources(
    tasks: dict[str, tuple[Pair, ...]], maker: RowMaker, vocabulary: int
) -> list[TextSource]:
    """Larger ones have a larger share, though less than their size says."""
    rows = {
        question: _pairs(question, mixed(f"seq2seq/{question}", pairs)[:_MOST_PAIRS], maker)
        for question, pairs in tasks.items()
    }
    whole = sum(sqrt(len(pairs)) for pairs in rows.values())
    return [
        _pair_source(
            question.replace(" ", "_"), _share("auxiliary") * sqrt(len(pairs)) / whole, pairs, vocabulary
        )
        for question, pairs in rows.items()
    ]


def _pairs(question: str, pairs: Sequence[Pair], maker: RowMaker) -> list[tuple[Row, Row]]:
    """Those that fit: as texts, and a cut answer would teach a wrong end."""
    sources = maker.rows([_asked(question, text) for text, _ in pairs])
    answers = maker.rows([(answer,) for _, answer in pairs])
    return [
        (source, answer)
        for source, answer in zip(sources, answers)
        if len(source) <= SOURCE_LENGTH and len(answer) <= ANSWER_LENGTH
    ]


def _shots(pack: TaskPack, vocabulary: int) -> TextSource:
    pairs = []
    for task in pack.tasks:
        arrays = task.splits["train"].arrays
        pairs += list(zip(arrays["tokens"].rows()[:SHOTS], arrays["answers"].rows()[:SHOTS]))
    return _pair_source("shots", _share("shots"), mixed("seq2seq/shots", pairs), vocabulary)


def _pair_source(name: str, share: float, pairs: Sequence[tuple], vocabulary: int) -> TextSource:
    first, second = zip(*pairs)
    return TextSource(name, share, Ragged.from_rows(first, vocabulary), Ragged.from_rows(second, vocabulary))


def _share(part: str) -> float:
    """Of the pairs."""
    return _SHARES[part] / sum(_SHARES.values())


def describe_seq2seq(pack: TaskPack) -> list[str]:
    """One line for each split: how much there is, and how long rows and answers are."""
    lines = []
    for task in pack.tasks:
        for name, split in task.splits.items():
            lengths = {array: np.diff(split.arrays[array].offsets.astype(int)) for array in ("tokens", "answers")}
            different = len({tuple(row.tolist()) for row in split.arrays["answers"].rows()})
            lines.append(
                f"{task.name}/{name}: {len(split)} examples, {len(np.unique(split.groups))} groups, "
                f"{different} different answers, {lengths['tokens'].mean():.1f} tokens (at most "
                f"{lengths['tokens'].max()}), {lengths['answers'].mean():.1f} of answers (at most "
                f"{lengths['answers'].max()})"
            )
    return lines
