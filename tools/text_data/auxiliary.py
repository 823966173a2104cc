"""What bases of text-to-text tasks learn beside these tasks: other questions about words of train groups.

A base that has answered many questions takes up a new one faster.
"""

from collections.abc import Iterator
from itertools import chain

from packs.stable import stable_hash

from .candidates import is_train
from .cmudict import Word, is_vowel, spelled
from .corpus import IsFree, Pair, emoji_keywords, kept_pairs, names_in, subdivisions
from .generation import is_plain, word_group
from .tasks import PARTS_OF_SPEECH, Inputs
from .wordnet import VERB_FILES, Synset, WordNet, spaced

_LANGUAGES = ("fr", "es", "it", "nl")
_MOST_LETTERS = 12  # of a word whose sounds or letters are asked for
_MOST_LETTERS_OF_PAIR = 14
_FIRST_SOUNDS = 3


def make_auxiliary_tasks(inputs: Inputs, is_free: IsFree) -> dict[str, tuple[Pair, ...]]:
    """What is asked -> questions and answers, none of them a text of a val or test split."""
    synsets = [synset for synset in inputs.wordnet.train() if is_free(synset.definition)]
    words = [word for word in inputs.words if is_train(word.group)]
    asked = chain(
        _of_synsets(inputs.wordnet, synsets), _of_derivations(inputs.wordnet), _of_words(words), _of_names(inputs)
    )
    return {question: kept_pairs(is_free, pairs) for question, pairs in asked}


def _of_synsets(wordnet: WordNet, synsets: list[Synset]) -> Iterator[tuple[str, Iterator[Pair]]]:
    parents = ((synset, synset.first("@", "@i")) for synset in synsets)
    yield "word", ((synset.definition, synset.name) for synset in synsets)
    yield "pos", ((synset.definition, PARTS_OF_SPEECH[synset.key[0]]) for synset in synsets)
    yield "kind", ((synset.name, wordnet.synsets[parent].name) for synset, parent in parents if parent)
    yield "synonym", ((s.name, spaced(s.words[1])) for s in synsets if len(s.words) > 1)
    yield "verb", ((s.definition, VERB_FILES[s.file]) for s in synsets if s.file in VERB_FILES)


def _of_derivations(wordnet: WordNet) -> Iterator[tuple[str, Iterator[Pair]]]:
    relations = {"adverb": ("r", "\\", "a"), "noun of verb": ("v", "+", "n")}
    for question, relation in relations.items():
        yield question, (
            (spelled(word), spelled(other))
            for word, other in wordnet.related_words(*relation)
            if word != other
            and is_plain(word, other)
            and max(len(word), len(other)) <= _MOST_LETTERS_OF_PAIR
            and is_train(word_group(word))
        )


def _of_words(words: list[Word]) -> Iterator[tuple[str, Iterator[Pair]]]:
    yield "syllables", ((word.spelled, str(len(word.syllables))) for word in words)
    yield "first sound", ((word.spelled, word.phones[0]) for word in words)
    yield "last sound", ((word.spelled, word.phones[-1]) for word in words)
    yield "spell", ((word.spelling, word.spelled) for word in words)
    # Each word is asked one of these.
    quarters: list[list[Word]] = [[], [], [], []]
    for word in words:
        if len(word.spelling) <= _MOST_LETTERS:
            quarters[stable_hash("auxiliary/" + word.spelling) % len(quarters)].append(word)
    yield "vowels", _sounds(quarters[0], are_vowels=True)
    yield "consonants", _sounds(quarters[1], are_vowels=False)
    yield "reverse", ((word.spelled, spelled(word.spelling[::-1])) for word in quarters[2])
    yield "start", ((word.spelled, " ".join(word.phones[:_FIRST_SOUNDS])) for word in quarters[3])


def _sounds(words: list[Word], are_vowels: bool) -> Iterator[Pair]:
    for word in words:
        if phones := [phone for phone in word.phones if is_vowel(phone) == are_vowels]:
            yield word.spelled, " ".join(phones)


def _of_names(inputs: Inputs) -> Iterator[tuple[str, Iterator[Pair]]]:
    for language in _LANGUAGES:
        yield f"en-{language}", ((english, name) for name, english in names_in(inputs, language))
    yield "state of", subdivisions(inputs)
    yield "keywords", ((keywords, name) for name, keywords in emoji_keywords(inputs))
