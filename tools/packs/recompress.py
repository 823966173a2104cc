"""Rewrites an HDF5 file with a slower search for matches, for packs that are committed: about 5 % fewer bytes.

The chunks stay deflate streams with a checksum, which every HDF5 reads.
"""

import zlib
from pathlib import Path

import h5py
import numpy as np
import zopfli.zlib

from .hdf5 import make_group, write_file

_CHECKSUM_BYTES = 4


def recompress(path: Path) -> None:
    """In place; the file is replaced when the new one is whole. Arrays without deflate are copied as they are."""
    with h5py.File(path) as source:
        write_file(path, lambda root: _copy_group(source, root))


def _copy_group(source: h5py.Group, target: h5py.Group) -> None:
    for name in source.attrs:
        stored = h5py.h5a.open(source.id, name.encode())
        target.attrs.create(name, source.attrs[name], dtype=stored.dtype)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy_group(item, make_group(target, name))
        elif item.compression == "gzip" and item.shuffle and item.fletcher32:
            _copy_compressed(item, target, name)
        else:
            source.copy(item, target, name)


def _copy_compressed(source: h5py.Dataset, target: h5py.Group, name: str) -> None:
    copy = h5py.h5d.create(target.id, name.encode(), source.id.get_type(), source.id.get_space(),
                           dcpl=source.id.get_create_plist())  # fmt: skip
    for index in range(source.id.get_num_chunks()):
        chunk = source.id.get_chunk_info(index)
        if chunk.filter_mask:
            raise ValueError(f"{source.name}: chunk {index} was written without all filters of its array")
        _, stored = source.id.read_direct_chunk(chunk.chunk_offset)
        deflated = zopfli.zlib.compress(zlib.decompress(stored[:-_CHECKSUM_BYTES]))
        copy.write_direct_chunk(chunk.chunk_offset, deflated + fletcher32(deflated))


def fletcher32(content: bytes) -> bytes:
    """The checksum of HDF5's filter: two sums of big-endian words of 16 bits modulo 65535, of which zero is written as
    65535 unless all words are zero."""
    words = np.frombuffer(content + b"\0" * (len(content) % 2), ">u2").astype(np.uint64)
    first = int(words.sum())
    second = int((words * np.arange(len(words), 0, -1, dtype=np.uint64) % 65535).sum())
    low, high = ((total - 1) % 65535 + 1 if total else 0 for total in (first, second))
    return (high << 16 | low).to_bytes(_CHECKSUM_BYTES, "little")
