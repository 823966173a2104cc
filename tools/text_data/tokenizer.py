"""The tokenizer of the text suites, and rows made with one.

Byte-level BPE: every text has ids, and ids give back the text byte for byte. One vocabulary serves
encoders, decoders and encoder-decoders (the sentinels are for span corruption).
"""

import hashlib
import sys
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from packs.tokens import TokenTable

VOCABULARY = 4096
UNCUT = sys.maxsize  # as the length of a row
PAD, START, SEPARATOR, MASK, END = "<pad>", "<cls>", "<sep>", "<mask>", "</s>"
_SENTINELS = 16
_SPECIAL = (PAD, START, SEPARATOR, MASK, END, *(f"<extra_id_{i}>" for i in range(_SENTINELS)))


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {SEPARATOR}",
        pair=f"{START} $A {SEPARATOR} $B {SEPARATOR}",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (START, SEPARATOR)],
    )
    return tokenizer


def byte_level_table(tokenizer: Tokenizer) -> TokenTable:
    content = tokenizer.to_str().encode()
    special = frozenset(map(tokenizer.token_to_id, _SPECIAL))
    names = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    unicode_to_byte = {character: byte for byte, character in visible_bytes().items()}
    return TokenTable(
        tokenizer=content,
        tokenizer_sha256=hashlib.sha256(content).hexdigest(),
        table=tuple(
            name.encode() if i in special else bytes(unicode_to_byte[character] for character in name)
            for i, name in enumerate(names)
        ),
        special=special,
        pad=tokenizer.token_to_id(PAD),
        mask=tokenizer.token_to_id(MASK),
    )


def visible_bytes() -> dict[int, str]:
    """How byte-level tokenizers write bytes: printable ones as in Latin-1, the others from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(0x100 + i) for i, byte in enumerate(hidden)}


class RowMaker:
    """Rows as a model reads them.

    With a start: START text SEPARATOR, or START one SEPARATOR other SEPARATOR for a pair.
    Without: text SEPARATOR, which an encoder-decoder reads and writes.
    """

    def __init__(self, tokenizer: Tokenizer, tokens: TokenTable, start: str | None, separator: str) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._start = [] if start is None else [tokenizer.token_to_id(start)]
        self._separator = tokenizer.token_to_id(separator)

    def rows(self, texts: Sequence[tuple[str, ...]], length: int = UNCUT) -> list[tuple[int, ...]]:
        """A row for each text or pair, cut to at most `length` tokens; the parts of a pair are cut alike."""
        flat = self._tokenizer.encode_batch(
            [part for parts in texts for part in parts], add_special_tokens=False
        )
        encoded = iter(flat)
        rows = []
        for parts in texts:
            limit = (length - len(self._start)) // len(parts) - 1
            row = self._start.copy()
            for _ in parts:
                row += [*self._cut(next(encoded).ids, limit), self._separator]
            rows.append(tuple(row))
        return rows

    def _cut(self, ids: list[int], limit: int) -> list[int]:
        """Whole words where there is more than one, whole characters always."""
        if len(ids) <= limit:
            return ids
        starts = [i for i in range(1, limit + 1) if self._tokens.table[ids[i]].startswith(b" ")]
        end = starts[-1] if starts else limit
        while not _is_text(b"".join(self._tokens.table[i] for i in ids[:end])):
            end -= 1
        return ids[:end]


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
