"""What bases are pretrained on: texts, and pairs of texts that say the same.

Only groups of the train split take part, and no text that a val or test split holds.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from packs.stable import stable_hash

from .candidates import folded, is_train
from .cmudict import Word
from .tasks import Inputs, class_countries, subdivision_group
from .wordnet import Synset, spaced

_WORDS = 3  # of a synset
_KEYWORDS = 5  # of an emoji

Pair = tuple[str, str]
IsFree = Callable[..., bool]  # of any number of texts


@dataclass(frozen=True)
class PairSource:
    name: str
    share: float  # of the pairs of a batch
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Corpus:
    texts: tuple[str, ...]
    pairs: tuple[PairSource, ...]


def make_corpus(inputs: Inputs, keeper: dict[str, str]) -> Corpus:
    is_free = free_of(keeper)
    synsets = [synset for synset in inputs.wordnet.train() if is_free(synset.definition)]
    texts = dict.fromkeys(text for text in _texts(inputs, synsets, is_free) if is_free(text))
    pairs = (
        PairSource("word_definition", 0.45, kept_pairs(is_free, ((s.name, s.definition) for s in synsets))),
        PairSource(
            "example_definition",
            0.10,
            kept_pairs(is_free, ((s.examples[0], s.definition) for s in synsets if s.examples)),
        ),
        PairSource("name_english", 0.15, kept_pairs(is_free, _names(inputs))),
        PairSource("subdivision_country", 0.06, kept_pairs(is_free, subdivisions(inputs))),
        PairSource("word_phones", 0.14, kept_pairs(is_free, _pronunciations(inputs))),
        PairSource("emoji_keywords", 0.10, kept_pairs(is_free, emoji_keywords(inputs))),
    )
    return Corpus(tuple(texts), pairs)


def free_of(keeper: dict[str, str]) -> IsFree:
    """Whether no val or test split holds any of some texts."""
    return lambda *texts: all(keeper.get(folded(text), "train") == "train" for text in texts)


def kept_pairs(is_free: IsFree, pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    return tuple(dict.fromkeys(pair for pair in pairs if is_free(*pair)))


def _texts(inputs: Inputs, synsets: list[Synset], is_free: IsFree) -> Iterator[str]:
    for synset in synsets:
        yield synset_text(synset)
        yield from synset.examples
    for locale in (inputs.cldr.english, *inputs.cldr.locales.values()):
        yield from (name for concept, name in locale.names.items() if is_train(concept))
    yield from (name for name in inputs.cldr.english.subdivisions.values() if is_train(subdivision_group(name)))
    for word in inputs.words:
        if (
            is_train(word.group)
            and is_free(word.spelled)
            and stable_hash("corpus/" + word.spelling) % 3 == 0
        ):
            yield word_text(word)


def synset_text(synset: Synset) -> str:
    return f"{', '.join(map(spaced, synset.words[:_WORDS]))}: {synset.definition}"


def word_text(word: Word) -> str:
    return f"{word.spelled} / {' '.join(word.phones)}"


def _names(inputs: Inputs) -> Iterator[Pair]:
    for language in inputs.cldr.locales:
        yield from names_in(inputs, language)


def names_in(inputs: Inputs, language: str) -> Iterator[Pair]:
    """Names that differ from the English, with these."""
    english = inputs.cldr.english.names
    for concept, name in inputs.cldr.locales[language].names.items():
        if is_train(concept) and name != english.get(concept, name):
            yield name, english[concept]


def subdivisions(inputs: Inputs) -> Iterator[Pair]:
    """Of countries that are no class of a task."""
    english = inputs.cldr.english.names
    classes = set(class_countries(inputs.cldr))
    for code, name in inputs.cldr.english.subdivisions.items():
        country = code[:2].upper()
        if country not in classes and f"territory/{country}" in english and is_train(subdivision_group(name)):
            yield name, english[f"territory/{country}"]


def _pronunciations(inputs: Inputs) -> Iterator[Pair]:
    return ((word.spelled, " ".join(word.phones)) for word in inputs.words if is_train(word.group))


def emoji_keywords(inputs: Inputs) -> Iterator[Pair]:
    english = inputs.cldr.english
    for concept, words in english.keywords.items():
        if concept in english.names and is_train(concept):
            yield english.names[concept], ", ".join(words[:_KEYWORDS])
