"""Texts of several domains, for language models: what bases of the text suites are pretrained on, by sort."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from tokenizers import Tokenizer

from packs.sources import manifest_sha256
from packs.task_pack import Split, Task, TaskPack
from packs.tokens import Ragged, TokenTable

from .candidates import Candidate, Pool, folded, held_out_texts, is_train
from .corpus import make_corpus, synset_text, word_text
from .endings import CAPS as ENDING_CAPS
from .endings import make_ending_task
from .selection import Example, choose_splits, group_numbers, unambiguous, without_equal_rows
from .suite import MANIFEST, TASK_LENGTH
from .tasks import (
    CMU_GROUP,
    CMU_LICENCE,
    SPLIT_RULE,
    SYNSET_GROUP,
    UNICODE_LICENCE,
    WORDNET_LICENCE,
    Inputs,
    emoji_candidates,
    make_pools,
)
from .tokenizer import SEPARATOR, START, RowMaker

SUITE = "language_model6"
CAPS = {"train": 6000, "val": 300, "test": 600}

_CONCEPTS = "what is named: its names in all languages"


def make_language_model_pack(inputs: Inputs, tokens: TokenTable, caps: dict[str, int] = CAPS) -> TaskPack:
    """With the tokenizer of a pack of texts. Val and test have no text that bases were pretrained on."""
    pools = make_pools(inputs).values()
    pretrained = set(map(folded, make_corpus(inputs, held_out_texts(pools)).texts))
    domains = [_without(pretrained, domain) for domain in make_domains(inputs)]
    keeper = held_out_texts(domains)
    maker = RowMaker(Tokenizer.from_str(tokens.tokenizer.decode()), tokens, START, SEPARATOR)
    tasks = [_make_task(domain, keeper, maker, caps, len(tokens)) for domain in domains]
    ending_caps = {split: min(cap, ENDING_CAPS[split]) for split, cap in caps.items()}
    tasks += [make_ending_task(domain, keeper, maker, ending_caps, len(tokens)) for domain in domains]
    return TaskPack(SUITE, manifest_sha256(MANIFEST), tuple(sorted(tasks, key=lambda task: task.name)), tokens)


def make_domains(inputs: Inputs) -> Iterator[Pool]:
    wordnet, cldr = inputs.wordnet, inputs.cldr
    for part, name in (("n", "noun"), ("v", "verb")):
        yield _domain(
            name, f"{name}s with their definitions", WORDNET_LICENCE, f"wordnet-base 1:3.0-37, {name}s",
            SYNSET_GROUP,
            ((synset_text(s), wordnet.group(s)) for s in wordnet.defined if s.key[0] == part),
        )  # fmt: skip
    yield _domain(
        "example", "sentences with a word", WORDNET_LICENCE, "wordnet-base 1:3.0-37, examples", SYNSET_GROUP,
        ((example, wordnet.group(s)) for s in wordnet.defined for example in s.examples),
    )  # fmt: skip
    yield _domain(
        "name", "names in sixteen languages", UNICODE_LICENCE,
        "unicode-cldr-core 41-0.1, names that differ from the English", _CONCEPTS,
        (
            (name, concept)
            for locale in cldr.locales.values()
            for concept, name in locale.names.items()
            if name != cldr.english.names.get(concept)
        ),
    )  # fmt: skip
    yield _domain(
        "phones", "spelled words with their phones", CMU_LICENCE, "festlex-cmu 2.4-2", CMU_GROUP,
        ((word_text(word), word.group) for word in inputs.words),
    )  # fmt: skip
    yield _domain(
        "emoji", "emoji with their keywords", UNICODE_LICENCE, "unicode-cldr-core 41-0.1, English annotations",
        _CONCEPTS, ((c.texts[0], c.group) for c in emoji_candidates(cldr, cldr.english)[1]),
    )  # fmt: skip


def _domain(
    name: str, title: str, licence: str, source: str, meaning: str, texts: Iterable[tuple[str, str]]
) -> Pool:
    candidates = tuple(Candidate((text,), 0, group) for text, group in texts)
    return Pool(name, title, licence, source, meaning, (), candidates)


def _without(pretrained: set[str], domain: Pool) -> Pool:
    kept = tuple(c for c in domain.candidates if is_train(c.group) or folded(c.texts[0]) not in pretrained)
    return replace(domain, candidates=kept)


def _make_task(
    domain: Pool, keeper: dict[str, str], maker: RowMaker, caps: dict[str, int], vocabulary: int
) -> Task:
    candidates = unambiguous(domain, keeper)
    rows = maker.rows([candidate.texts for candidate in candidates], TASK_LENGTH)
    examples = without_equal_rows([Example(row, 0, c.group) for row, c in zip(rows, candidates)])
    chosen = choose_splits(domain.name, None, caps, examples)
    groups = group_numbers(chosen)
    return Task(
        domain.name, "language_model", domain.title, domain.licence, domain.source, domain.group_meaning,
        SPLIT_RULE, {"domain": domain.name},
        {name: _make_split(split, groups[name], vocabulary) for name, split in chosen.items()},
    )  # fmt: skip


def _make_split(examples: list[Example], groups: np.ndarray, vocabulary: int) -> Split:
    return Split({"tokens": Ragged.from_rows([example.row for example in examples], vocabulary)}, groups)


def describe_language_model(pack: TaskPack) -> list[str]:
    """One line for each split: how much there is, and how long rows are."""
    lines = []
    for task in pack.tasks:
        for name, split in task.splits.items():
            lengths = np.diff(split.arrays["tokens"].offsets.astype(int))
            line = (
                f"{task.name}/{name}: {len(split)} examples, {len(np.unique(split.groups))} groups, "
                f"{lengths.mean():.1f} tokens (at most {lengths.max()})"
            )
            if choices := split.arrays.get("choices"):
                lengths = np.diff(choices.rows.offsets.astype(int))
                line += f", {len(choices.rows) / len(split):.0f} choices of {lengths.mean():.1f} tokens"
            lines.append(line)
    return lines
