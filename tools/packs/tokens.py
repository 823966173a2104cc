"""Rows of token ids, and the table that turns ids into bytes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import h5py
import numpy as np

from .hdf5 import make_group, read_text, set_integer, set_text, write_array, write_bytes


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths: row i is values[offsets[i] : offsets[i + 1]]."""

    values: np.ndarray  # uint16 or uint32 [total]
    offsets: np.ndarray  # uint32 [rows + 1], from 0 to total

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int]], vocabulary: int) -> "Ragged":
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        values = np.concatenate([np.asarray(row, np.int64) for row in rows])
        if offsets[-1] >= 2**32:
            raise ValueError(f"an array has less than 2^32 tokens, but these are {offsets[-1]}")
        return cls(values.astype(id_type(vocabulary)), offsets.astype(np.uint32))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, index: int) -> np.ndarray:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def rows(self) -> list[np.ndarray]:
        return [self.row(i) for i in range(len(self))]


@dataclass(frozen=True)
class Choices:
    """What each example may choose from: rows offsets[i] to offsets[i + 1] of `rows`, two or more."""

    rows: Ragged
    offsets: np.ndarray  # uint32 [examples + 1]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def counts(self) -> np.ndarray:
        return np.diff(self.offsets.astype(np.int64))


def id_type(vocabulary: int) -> type:
    return np.uint16 if vocabulary <= 2**16 else np.uint32


@dataclass(frozen=True)
class TokenTable:
    """What the ids of a file mean. The file of the tokenizer comes along, so that texts can be made
    into ids for the same models elsewhere, and models can be saved with their tokenizer."""

    tokenizer: bytes  # tokenizer.json of the HuggingFace library
    tokenizer_sha256: str
    table: tuple[bytes, ...]  # id -> its bytes; texts are joined from them
    special: frozenset[int]  # ids that are no text; their bytes are their names
    pad: int  # fills rows up; never stored in one
    mask: int | None  # what a masked language model reads in the place of hidden tokens
    separator: int | None = None  # tokens behind the first of a row are of type 1; None: all are of type 0

    def __len__(self) -> int:
        return len(self.table)

    def text(self, row: Sequence[int]) -> str:
        """The text of a row without special tokens; the space before its first word is dropped."""
        joined = b"".join(self.table[i] for i in row if i not in self.special)
        return joined.decode("utf-8").removeprefix(" ")


def write_token_table(root: h5py.Group, tokens: TokenTable) -> None:
    group = make_group(root, "tokens")
    set_text(group, "tokenizer_sha256", tokens.tokenizer_sha256)
    set_integer(group, "pad", tokens.pad)
    if tokens.mask is not None:
        set_integer(group, "mask", tokens.mask)
    if tokens.separator is not None:
        set_integer(group, "separator", tokens.separator)
    write_array(group, "special", np.array(sorted(tokens.special), np.uint32))
    offsets = np.cumsum([0] + [len(entry) for entry in tokens.table])
    write_bytes(group, "bytes", b"".join(tokens.table))
    write_array(group, "bytes_offsets", offsets.astype(np.uint32))
    write_bytes(group, "tokenizer", tokens.tokenizer)


def read_token_table(root: h5py.Group) -> TokenTable:
    group = root["tokens"]
    content, offsets = group["bytes"][()].tobytes(), group["bytes_offsets"][()].tolist()
    return TokenTable(
        tokenizer=group["tokenizer"][()].tobytes(),
        tokenizer_sha256=read_text(group, "tokenizer_sha256"),
        table=tuple(content[a:b] for a, b in pairwise(offsets)),
        special=frozenset(group["special"][()].tolist()),
        pad=int(group.attrs["pad"]),
        mask=int(group.attrs["mask"]) if "mask" in group.attrs else None,
        separator=int(group.attrs["separator"]) if "separator" in group.attrs else None,
    )


def write_ragged(group: h5py.Group, name: str, ragged: Ragged) -> None:
    write_array(group, name, ragged.values)
    write_array(group, f"{name}_offsets", ragged.offsets)


def read_ragged(group: h5py.Group, name: str) -> Ragged:
    return Ragged(group[name][()], group[f"{name}_offsets"][()])


def write_choices(group: h5py.Group, name: str, choices: Choices) -> None:
    write_ragged(group, name, choices.rows)
    write_array(group, f"{name}_rows", choices.offsets)


def read_choices(group: h5py.Group, name: str) -> Choices:
    return Choices(read_ragged(group, name), group[f"{name}_rows"][()])


def check_token_table(tokens: TokenTable) -> None:
    """Raises ValueError where the table is not what docs/packs.md says."""
    digest = hashlib.sha256(tokens.tokenizer).hexdigest()
    if tokens.tokenizer_sha256 != digest:
        raise ValueError(
            f"tokenizer_sha256 must be the digest of the tokenizer, {digest}, but it is {tokens.tokenizer_sha256}"
        )
    named = {"pad": {tokens.pad}, "special": tokens.special}
    named |= {"mask": {tokens.mask} - {None}, "separator": {tokens.separator} - {None}}
    for name, ids in named.items():
        if wrong := [i for i in ids if not 0 <= i < len(tokens)]:
            raise ValueError(f"{name}: ids must be less than the vocabulary, {len(tokens)}, but one is {wrong[0]}")


def check_rows(where: str, rows: Ragged, tokens: TokenTable) -> None:
    """Raises ValueError where the rows are not what docs/packs.md says."""
    offsets = rows.offsets.astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != len(rows.values) or (np.diff(offsets) < 1).any():
        raise ValueError(f"{where}: offsets must rise from 0 to the number of tokens, every row having one")
    if rows.values.dtype != id_type(len(tokens)) or rows.offsets.dtype != np.uint32:
        raise ValueError(f"{where}: ids are {np.dtype(id_type(len(tokens)))}, offsets uint32")
    if (largest := int(rows.values.max())) >= len(tokens):
        raise ValueError(
            f"{where}: ids must be less than the vocabulary, {len(tokens)}, but one is {largest}"
        )
    if (rows.values == tokens.pad).any():
        raise ValueError(f"{where}: the id of padding, {tokens.pad}, must not be stored")


def check_choices(where: str, choices: Choices, tokens: TokenTable) -> None:
    """Raises ValueError where the choices are not what docs/packs.md says."""
    check_rows(where, choices.rows, tokens)
    offsets = choices.offsets
    if offsets.dtype != np.uint32 or offsets[0] != 0 or offsets[-1] != len(choices.rows) or (choices.counts() < 2).any():
        raise ValueError(f"{where}: rows must rise from 0 to the number of choices, every example having two or more")
    if wrong := [row.tolist() for row in choices.rows.rows() if not tokens.text(row.tolist())]:
        raise ValueError(f"{where}: a choice must have a text, but one has the tokens {wrong[0]}")
