"""Pretraining pools, version 2 (docs/packs.md): writing, reading, checking.

Rows of text are stored in mixed order, so that any range of them is a random sample: a trainer
reads on from where it is, and never needs the whole.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from .hdf5 import (
    make_group,
    open_file,
    read_text,
    set_format,
    set_integer,
    set_real,
    set_text,
    write_array,
    write_file,
)
from .tokens import (
    Ragged,
    TokenTable,
    check_rows,
    check_token_table,
    read_ragged,
    read_token_table,
    write_ragged,
    write_token_table,
)

FORMAT = "fusegrid-pretraining-pool"
VERSION = 2
_CHANNELS = {"mask": 1, "rgb": 3}


@dataclass(frozen=True)
class TextSource:
    name: str
    share: float  # of a batch of its kind
    tokens: Ragged
    partners: Ragged | None = None  # row i says the same as row i of tokens in other words, or answers it

    @property
    def kind(self) -> str:
        return "text" if self.partners is None else "pairs"

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class ImageSource:
    name: str
    kind: str  # "mask": glyphs, which the trainer colours; "rgb": as they are
    share: float  # of every batch; the trainer fills the rest with examples of the tasks
    classes: int
    images: np.ndarray  # uint8 [examples, 1 (mask) or 3 (rgb), height, width]
    labels: np.ndarray  # uint16 [examples], from 0 inside the source

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PretrainingPool:
    sources_sha256: str  # digest of what the pool was made from
    sources: tuple[TextSource | ImageSource, ...]
    tokens: TokenTable | None = None  # where a source has tokens


def write_pretraining_pool(path: Path, pool: PretrainingPool) -> None:
    """Checks and writes. Equal pools give equal bytes."""
    _check(pool)

    def fill(root: h5py.Group) -> None:
        set_format(root, FORMAT, VERSION)
        set_text(root, "sources_sha256", pool.sources_sha256)
        if pool.tokens is not None:
            write_token_table(root, pool.tokens)
        parent = make_group(root, "sources")
        for source in pool.sources:
            _write_source(make_group(parent, source.name), source)

    write_file(path, fill)


def read_pretraining_pool(path: Path) -> PretrainingPool:
    with open_file(path, FORMAT, VERSION) as file:
        pool = PretrainingPool(
            sources_sha256=read_text(file, "sources_sha256"),
            sources=tuple(_read_source(group, name) for name, group in file["sources"].items()),
            tokens=read_token_table(file) if "tokens" in file else None,
        )
    _check(pool)
    return pool


def describe_texts(pool: PretrainingPool) -> list[str]:
    """One line for each source of texts."""
    return [
        f"{source.name}: {source.kind}, share {source.share:.4g}, {len(source.tokens)} rows, "
        f"{len(source.tokens.values)} tokens"
        for source in pool.sources
        if isinstance(source, TextSource)
    ]


def _write_source(group: h5py.Group, source: TextSource | ImageSource) -> None:
    set_text(group, "kind", source.kind)
    set_integer(group, "examples", len(source))
    set_real(group, "share", source.share)
    if isinstance(source, ImageSource):
        set_integer(group, "classes", source.classes)
        write_array(group, "images", source.images)
        write_array(group, "labels", source.labels)
        return
    write_ragged(group, "tokens", source.tokens)
    if source.partners is not None:
        write_ragged(group, "partners", source.partners)


def _read_source(group: h5py.Group, name: str) -> TextSource | ImageSource:
    kind, share = read_text(group, "kind"), float(group.attrs["share"])
    if kind in _CHANNELS:
        classes = int(group.attrs["classes"])
        return ImageSource(name, kind, share, classes, group["images"][()], group["labels"][()])
    partners = read_ragged(group, "partners") if "partners" in group else None
    return TextSource(name, share, read_ragged(group, "tokens"), partners)


# ---- checks ------------------------------------------------------------------------------------


def _check(pool: PretrainingPool) -> None:
    if not pool.sources:
        raise ValueError("a pool has at least one source")
    if pool.tokens is not None:
        check_token_table(pool.tokens)
    for source in pool.sources:
        if isinstance(source, ImageSource):
            _check_images(source)
        elif pool.tokens is None:
            raise ValueError(f"{source.name}: a pool with tokens has a table of them")
        else:
            _check_texts(source, pool.tokens)
    _check_shares(pool)


def _check_texts(source: TextSource, tokens: TokenTable) -> None:
    check_rows(f"{source.name}/tokens", source.tokens, tokens)
    if source.partners is not None:
        check_rows(f"{source.name}/partners", source.partners, tokens)
        if len(source.partners) != len(source.tokens):
            raise ValueError(f"{source.name}: every row must have a partner")


def _check_images(source: ImageSource) -> None:
    if source.kind not in _CHANNELS:
        raise ValueError(f"{source.name}: kind must be one of {list(_CHANNELS)}, but it is '{source.kind}'")
    shape = (len(source), _CHANNELS[source.kind])
    images = source.images
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:2] != shape or len(source) == 0:
        raise ValueError(
            f"{source.name}/images: must be uint8 [{shape[0]}, {shape[1]}, height, width] with an image for each "
            f"label, but it is {images.dtype} {images.shape}"
        )
    if not 2 <= source.classes <= 65535:
        raise ValueError(f"{source.name}: a source has 2 to 65535 classes, but it says {source.classes}")
    if source.labels.dtype != np.uint16 or int(source.labels.max()) >= source.classes:
        raise ValueError(
            f"{source.name}/labels: must be uint16 below {source.classes}, but they are {source.labels.dtype} "
            f"up to {source.labels.max()}"
        )


def _check_shares(pool: PretrainingPool) -> None:
    shares: dict[str, float] = {}
    for source in pool.sources:
        kind = "images" if isinstance(source, ImageSource) else source.kind
        shares[kind] = shares.get(kind, 0.0) + source.share
    wrong = {kind: share for kind, share in shares.items() if kind != "images" and abs(share - 1) > 1e-6}
    if wrong:
        raise ValueError(f"the shares of each kind must add up to 1, but they add up to {wrong}")
    if shares.get("images", 0.0) > 1 + 1e-6:
        raise ValueError(f"the shares of images must add up to at most 1, but they add up to {shares['images']}")
