"""The ten text-classification tasks: eight for every scale, two that small models do not learn."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packs.stable import random_stream, stable_hash

from .candidates import Candidate, Pool, split_of
from .cldr import LANGUAGES, Cldr, Locale, read_cldr
from .cmudict import VOWELS, Word, read_cmudict
from .wordnet import NOUN_FILES, VERB_FILES, Key, Synset, WordNet, read_wordnet

SPLIT_RULE = (
    "SHA256 of the group's name: 70 percent train, 10 percent val, 20 percent test, in every task alike"
)

PARTS_OF_SPEECH = {"n": "noun", "v": "verb", "a": "adjective", "r": "adverb"}

_ARTIFACTS = (
    "clothing", "building", "vehicle", "container", "musical_instrument", "furniture", "weapon",
    "fabric", "tool", "machine", "room", "measuring_instrument", "drug",
)  # fmt: skip
_ARTIFACT_FILE = 6
_COUNTRIES = 20
_SHORTEST_NAME = 4  # characters; shorter ones do not tell a language
_KEYWORDS = 6
_STEM = 4  # letters that keep the parts of one name in one split

WORDNET_LICENCE = "WordNet 3.0 licence (free use with its notice)"
UNICODE_LICENCE = "Unicode-DFS-2016"
CMU_LICENCE = "CMUDICT 0.4 as in festlex-cmu (free use with its notice)"
SYNSET_GROUP = (
    "the first hypernym of a noun or verb, the head of an adjective, the adjective of an adverb: sisters"
)
CMU_GROUP = "the first five letters of the word: its inflections"


@dataclass(frozen=True)
class Inputs:
    """What the tasks are made of, read once."""

    wordnet: WordNet
    cldr: Cldr
    words: tuple[Word, ...]


def read_inputs(packages: dict[str, Path]) -> Inputs:
    return Inputs(
        read_wordnet(packages["wordnet-base"]),
        read_cldr(packages["unicode-cldr-core"], packages["unicode-data"]),
        read_cmudict(packages["festlex-cmu"]),
    )


def make_pools(inputs: Inputs) -> dict[str, Pool]:
    wordnet, cldr, words = inputs.wordnet, inputs.cldr, inputs.words
    pools = (
        _noun24(wordnet), _verb14(wordnet), _pos4(wordnet), _artifact13(wordnet), _rel3(wordnet),
        _lang16(cldr), _country20(cldr), _emoji9(cldr), _stress3(words), _vowel15(words),
    )  # fmt: skip
    return {pool.name: pool for pool in pools}


def class_countries(cldr: Cldr) -> list[str]:
    """The territories with most subdivisions; the names of the others may be learnt before."""
    counts = Counter(code[:2].upper() for code in cldr.english.subdivisions)
    return sorted(counts, key=lambda code: (-counts[code], code))[:_COUNTRIES]


def subdivision_group(name: str) -> str:
    return "subdivision/" + name[:_STEM]


# ---- WordNet -----------------------------------------------------------------------------------


def _definitions(
    wordnet: WordNet, name: str, title: str, what: str, classes: tuple[str, ...], labels: dict[Key, int]
) -> Pool:
    candidates = tuple(
        Candidate((synset.definition,), labels[synset.key], wordnet.group(synset))
        for synset in wordnet.defined
        if synset.key in labels
    )
    source = f"wordnet-base 1:3.0-37, definitions of {what}, without their examples"
    return Pool(name, title, WORDNET_LICENCE, source, SYNSET_GROUP, classes, candidates)


def _by_file(wordnet: WordNet, part: str, files: dict[int, str]) -> dict[Key, int]:
    order = {number: i for i, number in enumerate(files)}
    return {s.key: order[s.file] for s in wordnet.defined if s.key[0] == part and s.file in files}


def _noun24(wordnet: WordNet) -> Pool:
    return _definitions(
        wordnet, "noun24", "field of a noun, by its definition", "nouns",
        tuple(NOUN_FILES.values()), _by_file(wordnet, "n", NOUN_FILES),
    )  # fmt: skip


def _verb14(wordnet: WordNet) -> Pool:
    return _definitions(
        wordnet, "verb14", "field of a verb, by its definition", "verbs",
        tuple(VERB_FILES.values()), _by_file(wordnet, "v", VERB_FILES),
    )  # fmt: skip


def _pos4(wordnet: WordNet) -> Pool:
    parts = list(PARTS_OF_SPEECH)
    labels = {
        synset.key: parts.index(synset.key[0])
        for synset in wordnet.defined
        if not (synset.key[0] == "n" and synset.words[0][0].isupper())  # names of persons and places
    }
    return _definitions(
        wordnet, "pos4", "part of speech, by the definition", "all words but names",
        tuple(PARTS_OF_SPEECH.values()), labels,
    )  # fmt: skip


def _artifact13(wordnet: WordNet) -> Pool:
    closures = [wordnet.closure(word, _ARTIFACT_FILE) for word in _ARTIFACTS]
    counts = Counter(key for closure in closures for key in closure)
    labels = {key: label for label, closure in enumerate(closures) for key in closure if counts[key] == 1}
    return _definitions(
        wordnet, "artifact13", "kind of an artifact, by its definition", "nouns below one of the 13 classes",
        _ARTIFACTS, labels,
    )  # fmt: skip


def _rel3(wordnet: WordNet) -> Pool:
    """Is B a hypernym of A, a sister, or anything else of its field? Both are of one split."""
    nouns = [s for s in wordnet.defined if s.key[0] == "n" and s.file in NOUN_FILES and s.first("@", "@i")]
    by_key = {synset.key: synset for synset in wordnet.defined}
    by_field: dict[tuple[int, str], list[Synset]] = defaultdict(list)
    for synset in nouns:
        by_field[synset.file, split_of(wordnet.group(synset))].append(synset)
    random = random_stream("rel3/partners")
    candidates = []
    for synset in nouns:
        group = wordnet.group(synset)
        parent = synset.first("@", "@i")
        label = stable_hash("rel3/" + synset.key[1]) % 3
        if label == 0:
            partners = [by_key[parent]] if parent in by_key else []
        elif label == 1:
            partners = [
                by_key[key] for key in wordnet.hyponyms[parent] if key in by_key and key != synset.key
            ]
        else:
            field = by_field[synset.file, split_of(group)]
            partners = [field[int(random.integers(len(field)))]]
            partners = [p for p in partners if wordnet.group(p) != group and p.key != parent]
        partners = [p for p in partners if split_of(wordnet.group(p)) == split_of(group)]
        if partners:
            partner = partners[int(random.integers(len(partners)))]
            texts = tuple(f"{one.name}: {one.definition}" for one in (synset, partner))
            candidates.append(Candidate(texts, label, group))
    return Pool(
        "rel3", "relation of two nouns, by word and definition", WORDNET_LICENCE,
        "wordnet-base 1:3.0-37, pairs of nouns with their definitions", SYNSET_GROUP,
        ("hypernym", "sister", "unrelated"), tuple(candidates),
    )  # fmt: skip


# ---- CLDR --------------------------------------------------------------------------------------


def _lang16(cldr: Cldr) -> Pool:
    candidates = []
    for label, language in enumerate(LANGUAGES):
        for concept, name in cldr.locales[language].names.items():
            if name != cldr.english.names.get(concept) and len(name) >= _SHORTEST_NAME:
                candidates.append(Candidate((name,), label, concept))
    return Pool(
        "lang16", "language of a name", UNICODE_LICENCE,
        "unicode-cldr-core 41-0.1, names of languages, territories, currencies and emoji "
        "that differ from the English",
        "what is named: its names in all languages", LANGUAGES, tuple(candidates),
    )  # fmt: skip


def _country20(cldr: Cldr) -> Pool:
    countries = class_countries(cldr)
    counts = Counter(cldr.english.subdivisions.values())
    candidates = tuple(
        Candidate((name,), countries.index(code[:2].upper()), subdivision_group(name))
        for code, name in cldr.english.subdivisions.items()
        if code[:2].upper() in countries and counts[name] == 1
    )
    classes = tuple(cldr.english.names[f"territory/{code}"] for code in countries)
    return Pool(
        "country20", "country of a province", UNICODE_LICENCE,
        "unicode-cldr-core 41-0.1, English names of the subdivisions of the 20 countries that have most",
        "the first four letters of the name", classes, candidates,
    )  # fmt: skip


def _emoji9(cldr: Cldr) -> Pool:
    titles, candidates = emoji_candidates(cldr, cldr.english)
    return Pool(
        "emoji9", "group of an emoji, by name and keywords", UNICODE_LICENCE,
        "unicode-cldr-core 41-0.1, English annotations; unicode-data 15.0.0-1, emoji-test.txt",
        "the emoji: its names in all languages", titles, candidates,
    )  # fmt: skip


def emoji_candidates(cldr: Cldr, locale: Locale) -> tuple[tuple[str, ...], tuple[Candidate, ...]]:
    """Titles of the groups; names with a few keywords, labelled by their group."""
    titles = tuple(title for title in dict.fromkeys(cldr.emoji_groups.values()) if title != "Component")
    candidates = []
    for concept, name in locale.names.items():
        title = cldr.emoji_groups.get(concept)
        if title in titles:
            words = [word for word in locale.keywords.get(concept, []) if word != name][:_KEYWORDS]
            text = f"{name}: {', '.join(words)}" if words else name
            candidates.append(Candidate((text,), titles.index(title), concept))
    return titles, tuple(candidates)


# ---- CMU dictionary ----------------------------------------------------------------------------


def _spelled(name: str, title: str, classes: tuple[str, ...], labelled: Iterator[tuple[Word, int]]) -> Pool:
    candidates = tuple(Candidate((word.spelled,), label, word.group) for word, label in labelled)
    source = "festlex-cmu 2.4-2, spelled words"
    return Pool(name, title, CMU_LICENCE, source, CMU_GROUP, classes, candidates)


def _stress3(words: tuple[Word, ...]) -> Pool:
    labelled = (
        (word, min(word.stressed[0], 2))
        for word in words
        if 3 <= len(word.syllables) <= 5 and len(word.stressed) == 1
    )
    return _spelled("stress3", "stressed syllable of a word", ("first", "second", "third or later"), labelled)


def _vowel15(words: tuple[Word, ...]) -> Pool:
    def labelled() -> Iterator[tuple[Word, int]]:
        for word in words:
            if word.stressed and len(word.syllables) >= 2:
                vowels = [phone for phone in word.syllables[word.stressed[0]] if phone in VOWELS]
                if vowels:
                    yield word, VOWELS.index(vowels[0])

    return _spelled("vowel15", "vowel of the stressed syllable of a word", VOWELS, labelled())
