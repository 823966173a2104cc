"""Data sets as tables, read row after row: parquet, arrow, csv, jsonl, tar files of WebDataset, folders of arrays, folders
of images."""

import csv
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_SHARD = re.compile(r"^(?P<split>.+?)-(?P<index>\d{5})-of-(?P<count>\d{5})")
_BATCH = 256
_BATCH_BYTES = 2**23  # of rows at once, since a list of Python takes ten times as much


@dataclass(frozen=True)
class Table:
    """One split of a data set."""

    where: str  # for messages
    files: tuple[Path, ...]
    format: type
    columns: tuple[str, ...]
    count: int

    def rows(self, columns: list[str]) -> Iterator[dict]:
        for file in self.files:
            yield from self.format.rows(file, columns)

    def class_names(self, column: str) -> list[str] | None:
        """What the data set calls its labels, where it says so."""
        return self.format.class_names(self.files, column)

    def identity(self) -> list:
        """Changes where the files do, links of a hub cache being named by their content."""
        return [[str(file), file.stat().st_size, _version(file)] for file in self.files]


def open_splits(folder: Path, config: str | None) -> dict[str, Table]:
    """All splits of a data set, by the data set's own names."""
    root = folder / config if config else folder
    if not root.is_dir():
        raise ValueError(f"{folder} must have the folder '{config}'; check 'config' in the suite")
    for format in (Parquet, Arrow, JsonLines, Csv, Tar):
        if files := [
            path for path in sorted(root.rglob("*")) if path.name.endswith(format.endings) and path.is_file()
        ]:
            return {split: _table(root, split, tuple(some), format) for split, some in _by_split(root, files).items()}
    if splits := _array_folders(root) or _image_folders(root):
        return splits
    raise ValueError(
        f"{root} must hold a data set: parquet, arrow, jsonl, csv or tar files, folders of arrays, or folders of images "
        "named by their class; there is none"
    )


def _by_split(root: Path, files: list[Path]) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(_split_name(root, file), []).append(file)
    for split, some in splits.items():
        if len(folders := {file.parent for file in some}) > 1:
            raise ValueError(
                f"{root}: the split '{split}' is in several folders ({', '.join(sorted(f.name for f in folders))}); "
                "choose one with 'config' in the suite"
            )
        shards = [_SHARD.match(file.name) for file in some]
        if shards[0] and len(some) != (count := int(shards[0]["count"])):
            raise ValueError(
                f"{root}: the split '{split}' must have {count} files, but {len(some)} are there; the download "
                "was interrupted, so download it again"
            )
    return splits


def _split_name(root: Path, file: Path) -> str:
    """train-00000-of-00002.parquet, train.csv, train/0000.parquet or train/data-00000-of-00002.arrow: train."""
    shard = _SHARD.match(file.name)
    name = shard["split"] if shard else file.name.split(".")[0]
    if (name == "data" or name.isdigit()) and file.parent != root:
        return file.parent.name
    return name


def _table(root: Path, split: str, files: tuple[Path, ...], format: type) -> Table:
    columns = format.columns(files[0])
    return Table(f"{root}, split '{split}'", files, format, columns, sum(map(format.count, files)))


def _version(file: Path) -> object:
    return file.resolve().name if file.is_symlink() else file.stat().st_mtime_ns


# ---- formats: files of one ending, with `columns`, `count`, `rows` and `class_names` ---------------------------------


class Parquet:
    endings = (".parquet",)

    @staticmethod
    def _open(file: Path):
        from pyarrow import ArrowInvalid, parquet

        try:
            return parquet.ParquetFile(file)
        except ArrowInvalid as error:
            raise ValueError(f"{file}: must be a whole parquet file; download it again ({error})") from None

    @classmethod
    def columns(cls, file: Path) -> tuple[str, ...]:
        return tuple(cls._open(file).schema_arrow.names)

    @classmethod
    def count(cls, file: Path) -> int:
        return cls._open(file).metadata.num_rows

    @classmethod
    def rows(cls, file: Path, columns: list[str]) -> Iterator[dict]:
        opened = cls._open(file)
        groups = [opened.metadata.row_group(i) for i in range(opened.metadata.num_row_groups)]
        of_row = sum(group.total_byte_size for group in groups) / max(1, opened.metadata.num_rows)
        for batch in opened.iter_batches(max(1, min(_BATCH, int(_BATCH_BYTES / max(1, of_row)))), columns=columns):
            yield from batch.to_pylist()

    @classmethod
    def class_names(cls, files: tuple[Path, ...], column: str) -> list[str] | None:
        return _names_in_schema(cls._open(files[0]).schema_arrow, column)


class Arrow:
    endings = (".arrow",)

    @staticmethod
    def _batches(file: Path):
        import pyarrow

        try:
            return pyarrow.ipc.open_stream(pyarrow.memory_map(str(file)))
        except pyarrow.ArrowInvalid:
            return pyarrow.ipc.open_file(pyarrow.memory_map(str(file)))

    @classmethod
    def _each(cls, file: Path):
        reader = cls._batches(file)
        random_access = hasattr(reader, "get_batch")
        return map(reader.get_batch, range(reader.num_record_batches)) if random_access else reader

    @classmethod
    def columns(cls, file: Path) -> tuple[str, ...]:
        return tuple(cls._batches(file).schema.names)

    @classmethod
    def count(cls, file: Path) -> int:
        return sum(batch.num_rows for batch in cls._each(file))

    @classmethod
    def rows(cls, file: Path, columns: list[str]) -> Iterator[dict]:
        for batch in cls._each(file):
            chosen = batch.select(columns)
            for start in range(0, chosen.num_rows, _BATCH):
                yield from chosen.slice(start, _BATCH).to_pylist()

    @classmethod
    def class_names(cls, files: tuple[Path, ...], column: str) -> list[str] | None:
        if names := _names_in_schema(cls._batches(files[0]).schema, column):
            return names
        info = files[0].with_name("dataset_info.json")
        return (
            _names(json.loads(info.read_text(encoding="utf-8")).get("features"), column) if info.is_file() else None
        )


def _names_in_schema(schema, column: str) -> list[str] | None:
    content = (schema.metadata or {}).get(b"huggingface")
    return _names(json.loads(content).get("info", {}).get("features"), column) if content else None


def _names(features: dict | None, column: str) -> list[str] | None:
    return (features or {}).get(column, {}).get("names")


class _Lines:
    """Formats that are read whole to be counted."""

    @classmethod
    def columns(cls, file: Path) -> tuple[str, ...]:
        return tuple(next(cls.all_rows(file), {}))

    @classmethod
    def count(cls, file: Path) -> int:
        return sum(1 for _ in cls.all_rows(file))

    @classmethod
    def rows(cls, file: Path, columns: list[str]) -> Iterator[dict]:
        for row in cls.all_rows(file):
            if missing := [name for name in columns if name not in row]:
                raise ValueError(
                    f"{file}: every row must have the column '{missing[0]}', but one has {', '.join(row)}"
                )
            yield {name: row[name] for name in columns}

    @staticmethod
    def class_names(files: tuple[Path, ...], column: str) -> list[str] | None:
        return None


class JsonLines(_Lines):
    endings = (".jsonl",)

    @staticmethod
    def all_rows(file: Path) -> Iterator[dict]:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield json.loads(line)
                except json.JSONDecodeError:
                    raise ValueError(f"{file}, line {number}: must be a JSON object") from None


class Csv(_Lines):
    endings = (".csv", ".tsv")

    @staticmethod
    def all_rows(file: Path) -> Iterator[dict]:
        with file.open(encoding="utf-8", newline="") as lines:
            yield from csv.DictReader(lines, delimiter="\t" if file.suffix == ".tsv" else ",")


class Tar(_Lines):
    """Members with one name before the first dot are a row: 17.jpg and 17.cls."""

    endings = (".tar",)

    @staticmethod
    def all_rows(file: Path) -> Iterator[dict]:
        with tarfile.open(file) as tar:
            key, row = None, {}
            for member in tar:
                if not member.isfile():
                    continue
                name, column = member.name.rsplit("/", 1)[-1].split(".", 1)
                if name != key and row:
                    yield row
                    row = {}
                key = name
                content = tar.extractfile(member).read()
                row[column] = content.decode().strip() if column in ("cls", "txt", "json") else {"bytes": content}
            if row:
                yield row


class ArrayFolders:
    """SPLIT/COLUMN/17.npy: row 17. The rows of a table are those of its first column's files."""

    @staticmethod
    def rows(file: Path, columns: list[str]) -> Iterator[dict]:
        if file.parent.name == min(path.parent.name for path in file.parents[1].glob(f"*/{file.name}")):
            yield {name: _read_array(file.parents[1] / name / file.name) for name in columns}

    @staticmethod
    def class_names(files: tuple[Path, ...], column: str) -> list[str] | None:
        return None


def _read_array(path: Path):
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path}: must be a whole array of numbers; download it again ({error})") from None


def _array_folders(root: Path) -> dict[str, Table]:
    splits: dict[str, dict[str, dict[int, Path]]] = {}
    for path in root.rglob("*.npy"):
        if len(path.relative_to(root).parts) != 3 or not path.stem.isdigit():
            raise ValueError(f"{path}: arrays must be {root}/SPLIT/COLUMN/NUMBER.npy")
        columns = splits.setdefault(path.parents[1].name, {})
        columns.setdefault(path.parent.name, {})[int(path.stem)] = path
    tables = {}
    for split, columns in sorted(splits.items()):
        rows = set().union(*columns.values())
        for name, files in columns.items():
            if missing := sorted(rows - files.keys()):
                raise ValueError(f"{root}/{split}/{name} must have the array {missing[0]}.npy, but has not; download it")
        files = tuple(columns[name][row] for name in sorted(columns) for row in sorted(rows))
        tables[split] = Table(f"{root}, split '{split}'", files, ArrayFolders, tuple(sorted(columns)), len(rows))
    return tables


class ImageFolders:
    """Folders named by their class; columns image and label."""

    @staticmethod
    def rows(file: Path, columns: list[str]) -> Iterator[dict]:
        names = ImageFolders.names(file.parent.parent)
        yield {"image": {"path": str(file)}, "label": names.index(file.parent.name)}

    @staticmethod
    def class_names(files: tuple[Path, ...], column: str) -> list[str] | None:
        return ImageFolders.names(files[0].parent.parent)

    @staticmethod
    def names(split: Path) -> list[str]:
        return sorted(folder.name for folder in split.iterdir() if folder.is_dir())


def _image_folders(root: Path) -> dict[str, Table]:
    splits: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.name.lower().endswith(_IMAGES) and path.is_file():
            depth = len(path.relative_to(root).parts)
            if depth not in (2, 3):
                raise ValueError(f"{path}: images must be in {root}/SPLIT/CLASS or {root}/CLASS")
            splits.setdefault(path.parent.parent.name if depth == 3 else "all", []).append(path)
    return {
        split: Table(f"{root}, split '{split}'", tuple(files), ImageFolders, ("image", "label"), len(files))
        for split, files in splits.items()
    }
