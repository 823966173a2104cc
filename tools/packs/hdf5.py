"""HDF5 files that are equal byte for byte when their content is.

No time stamps, fixed-length strings, fixed creation order, pinned library: `h5py` is pinned because
another HDF5 may lay the same data out differently.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

_ROWS_PER_CHUNK = 256  # of arrays with rows of their own: images, maps
_VALUES_PER_CHUNK = 65536  # of flat arrays: labels, tokens, offsets
_LARGEST_COMPRESSED_BYTES = 256 << 20


def write_file(path: Path, fill: Callable[[h5py.Group], None]) -> None:
    """Writes beside the target and renames, so that a crash leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with _open_without_times(partial) as file:
        fill(file)
    partial.replace(path)


@contextmanager
def open_file(path: Path, file_format: str, version: int) -> Iterator[h5py.File]:
    """For reading; ValueError where the file is not what set_format() says."""
    with h5py.File(path) as file:
        if read_text(file, "format") != file_format or int(file.attrs["version"]) != version:
            raise ValueError(f"{path} must be a {file_format} of version {version}; make it again with tools/")
        yield file


def set_format(root: h5py.Group, file_format: str, version: int) -> None:
    set_text(root, "format", file_format)
    set_integer(root, "version", version)


def make_group(parent: h5py.Group, name: str) -> h5py.Group:
    creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    creation.set_obj_track_times(False)
    return h5py.Group(h5py.h5g.create(parent.id, name.encode(), gcpl=creation))


def write_array(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """Large arrays of bytes are written as they are, so that the program maps them into memory instead of reading them
    (docs/design/data.md); everything else is compressed."""
    if values.dtype == np.uint8 and values.nbytes > _LARGEST_COMPRESSED_BYTES:
        group.create_dataset(name, data=values, track_times=False)
        return
    rows = min(len(values), _ROWS_PER_CHUNK if values.ndim > 1 else _VALUES_PER_CHUNK)
    group.create_dataset(
        name,
        data=values,
        chunks=(rows, *values.shape[1:]),
        shuffle=True,
        compression="gzip",
        compression_opts=9,
        fletcher32=True,
        track_times=False,
    )


def write_bytes(group: h5py.Group, name: str, content: bytes) -> None:
    write_array(group, name, np.frombuffer(content, np.uint8))


def write_json(group: h5py.Group, name: str, value: dict) -> None:
    """As a dataset: an attribute holds 64 KiB, and a task may have 65536 classes."""
    write_bytes(group, name, json.dumps(value, sort_keys=True, indent=1).encode())


def set_text(group: h5py.Group, name: str, value: str) -> None:
    data = value.encode("ascii")
    if not data:  # HDF5 has no string of length 0
        raise ValueError(f"{group.name}, attribute '{name}': must not be empty")
    group.attrs.create(name, np.bytes_(data), dtype=h5py.string_dtype("ascii", len(data)))


def set_integer(group: h5py.Group, name: str, value: int) -> None:
    group.attrs.create(name, value, dtype=np.int64)


def set_real(group: h5py.Group, name: str, value: float) -> None:
    group.attrs.create(name, value, dtype=np.float64)


def read_text(group: h5py.Group, name: str) -> str:
    value = group.attrs[name]
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def read_json(group: h5py.Group, name: str) -> dict:
    return json.loads(group[name][()].tobytes())


def _open_without_times(path: Path) -> h5py.File:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    handle = h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, fcpl=creation, fapl=access)
    return h5py.File(handle)
