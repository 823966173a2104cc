"""The cross-lingual grid: three tasks in seven languages. Every cell is a classification task of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from packs.sources import manifest_sha256
from packs.task_pack import TaskPack
from packs.tokens import TokenTable

from .candidates import Candidate, Pool, folded, held_out_texts, is_train
from .cldr import Cldr, Locale
from .corpus import make_corpus
from .suite import MANIFEST, make_task
from .tasks import UNICODE_LICENCE, Inputs, emoji_candidates, make_pools, subdivision_group
from .tokenizer import SEPARATOR, START, RowMaker

SUITE = "text_grid"
LANGUAGES = ("en", "de", "fr", "es", "it", "cs", "sv")
CAPS = {"train": 2000, "val": 250, "test": 600}

_TYPES = ("language", "territory", "currency", "emoji", "subdivision", "keyword")
_CONTINENTS = ("002", "019", "142", "150")  # Oceania has too few subdivisions


@dataclass(frozen=True)
class Cell:
    task: str
    language: str
    pool: Pool


def make_grid_pack(inputs: Inputs, tokens: TokenTable, caps: dict[str, int] = CAPS) -> TaskPack:
    """With the tokenizer of a pack of texts."""
    pretrained = _pretrained_texts(inputs)
    cells = [_without(pretrained, cell) for cell in make_cells(inputs.cldr)]
    keeper = held_out_texts(cell.pool for cell in cells)
    maker = RowMaker(Tokenizer.from_str(tokens.tokenizer.decode()), tokens, START, SEPARATOR)
    tasks = (
        make_task(cell.pool, keeper, maker, caps, len(tokens), {"task": cell.task, "domain": cell.language})
        for cell in cells
    )
    return TaskPack(SUITE, manifest_sha256(MANIFEST), tuple(sorted(tasks, key=lambda task: task.name)), tokens)


def _pretrained_texts(inputs: Inputs) -> set[str]:
    corpus = make_corpus(inputs, held_out_texts(make_pools(inputs).values()))
    of_pairs = (text for source in corpus.pairs for pair in source.pairs for text in pair)
    return set(map(folded, (*corpus.texts, *of_pairs)))


def _without(pretrained: set[str], cell: Cell) -> Cell:
    """Without candidates of val and test that bases of the text suites have seen: names that two concepts share."""
    kept = tuple(
        candidate
        for candidate in cell.pool.candidates
        if is_train(candidate.group) or folded(candidate.texts[0]) not in pretrained
    )
    return replace(cell, pool=replace(cell.pool, candidates=kept))


def make_cells(cldr: Cldr) -> Iterator[Cell]:
    for language in LANGUAGES:
        locale = cldr.english if language == "en" else cldr.locales[language]
        english_name = cldr.english.names[f"language/{language}"]
        titles, emoji = emoji_candidates(cldr, locale)
        yield _cell(
            "emoji", language, f"group of an emoji, by name and keywords, in {english_name}",
            "unicode-cldr-core 41-0.1, annotations; unicode-data 15.0.0-1, emoji-test.txt", titles, emoji,
        )  # fmt: skip
        yield _cell(
            "type", language, f"what a name is the name of, in {english_name}",
            "unicode-cldr-core 41-0.1, names, and one keyword of each emoji",
            _TYPES, _of_types(cldr, locale),
        )  # fmt: skip
        yield _cell(
            "continent", language, f"continent of a province, in {english_name}",
            "unicode-cldr-core 41-0.1, names of subdivisions, territory containment",
            tuple(cldr.english.names[f"territory/{code}"] for code in _CONTINENTS),
            _of_continents(cldr, locale),
        )  # fmt: skip


def _cell(
    task: str, language: str, title: str, source: str, classes: tuple[str, ...], candidates: Iterable[Candidate]
) -> Cell:
    meaning = "what is named: its names in all languages; subdivisions by the first four letters in English"
    pool = Pool(
        f"{task}_{language}", title, UNICODE_LICENCE, source, meaning, classes, tuple(candidates)
    )
    return Cell(task, language, pool)


def _of_types(cldr: Cldr, locale: Locale) -> Iterator[Candidate]:
    def candidate(text: str, kind: str, group: str) -> Candidate:
        return Candidate((text,), _TYPES.index(kind), group)

    for concept, name in locale.names.items():
        yield candidate(name, concept.split("/")[0], concept)
        words = (word for word in locale.keywords.get(concept, []) if word != name)
        yield from (candidate(word, "keyword", concept) for word in list(words)[:1])
    for code, name in locale.subdivisions.items():
        yield candidate(name, "subdivision", _group_of_subdivision(cldr, code, name))


def _of_continents(cldr: Cldr, locale: Locale) -> Iterator[Candidate]:
    for code, name in locale.subdivisions.items():
        continent = cldr.continents.get(code[:2].upper())
        if continent in _CONTINENTS:
            yield Candidate((name,), _CONTINENTS.index(continent), _group_of_subdivision(cldr, code, name))


def _group_of_subdivision(cldr: Cldr, code: str, name: str) -> str:
    return subdivision_group(cldr.english.subdivisions.get(code, name))
