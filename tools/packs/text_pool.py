"""Pretraining pools of text, version 2 (docs/packs.md): writing, reading, checking.

Rows are stored in mixed order, so that any range of them is a random sample: a trainer reads on
from where it is, and never needs the whole.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py

from .hdf5 import make_group, read_text, set_integer, set_real, set_text, write_file
from .tokens import (
    Ragged,
    TokenTable,
    check_rows,
    read_ragged,
    read_token_table,
    write_ragged,
    write_token_table,
)

FORMAT = "fusegrid-pretraining-pool"
VERSION = 2


@dataclass(frozen=True)
class TextSource:
    name: str
    share: float  # of a batch of its kind
    tokens: Ragged
    partners: Ragged | None = None  # row i says the same as row i of tokens, in other words

    @property
    def kind(self) -> str:
        return "text" if self.partners is None else "pairs"


@dataclass(frozen=True)
class TextPool:
    sources_sha256: str
    tokens: TokenTable
    sources: tuple[TextSource, ...]


def write_text_pool(path: Path, pool: TextPool) -> None:
    """Checks and writes. Equal pools give equal bytes."""
    _check(pool)

    def fill(root: h5py.Group) -> None:
        set_text(root, "format", FORMAT)
        set_integer(root, "version", VERSION)
        set_text(root, "sources_sha256", pool.sources_sha256)
        write_token_table(root, pool.tokens)
        parent = make_group(root, "sources")
        for source in pool.sources:
            group = make_group(parent, source.name)
            set_text(group, "kind", source.kind)
            set_integer(group, "examples", len(source.tokens))
            set_real(group, "share", source.share)
            write_ragged(group, "tokens", source.tokens)
            if source.partners is not None:
                write_ragged(group, "partners", source.partners)

    write_file(path, fill)


def read_text_pool(path: Path) -> TextPool:
    with h5py.File(path) as file:
        if read_text(file, "format") != FORMAT or int(file.attrs["version"]) != VERSION:
            raise ValueError(f"{path} must be a {FORMAT} of version {VERSION}; make it again with tools/")
        sources = tuple(
            TextSource(
                name=name,
                share=float(group.attrs["share"]),
                tokens=read_ragged(group, "tokens"),
                partners=read_ragged(group, "partners") if "partners" in group else None,
            )
            for name, group in file["sources"].items()
        )
        pool = TextPool(read_text(file, "sources_sha256"), read_token_table(file), sources)
    _check(pool)
    return pool


def _check(pool: TextPool) -> None:
    shares: dict[str, float] = {}
    for source in pool.sources:
        shares[source.kind] = shares.get(source.kind, 0.0) + source.share
        check_rows(f"{source.name}/tokens", source.tokens, pool.tokens)
        if source.partners is not None:
            check_rows(f"{source.name}/partners", source.partners, pool.tokens)
            if len(source.partners) != len(source.tokens):
                raise ValueError(f"{source.name}: every row must have a partner")
    if wrong := {kind: share for kind, share in shares.items() if abs(share - 1) > 1e-6}:
        raise ValueError(f"the shares of each kind must add up to 1, but they add up to {wrong}")
