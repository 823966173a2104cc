"""The examples of a text pack for a published base, all-MiniLM-L6-v2, and that base.

The pack's own tokenizer gives texts back byte for byte, so its examples, order, splits and groups
are taken from the pack itself, and only the ids are new. The vocabulary may be cut down to what
the examples use: rows of the embedding that no example reads need not go through every merge.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from packs.sources import manifest_sha256
from packs.task_pack import Task, TaskPack
from packs.tokens import Ragged, TokenTable

from .suite import TASK_LENGTH
from .tokenizer import RowMaker

MANIFEST = Path(__file__).with_name("minilm_sources.txt")
PAD, UNKNOWN, START, SEPARATOR, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
_SPECIAL = (PAD, UNKNOWN, START, SEPARATOR, MASK)
_CONTINUES = "##"  # a piece that goes on with the word before it
_EMBEDDING = "embeddings.word_embeddings.weight"
_WEIGHTS, _TOKENIZER, _VOCABULARY, _CONFIG = "model.safetensors", "tokenizer.json", "vocab.txt", "config.json"


def make_minilm(source: Path, pack: TaskPack, folder: Path, whole_vocabulary: bool) -> TaskPack:
    """Writes the base as a HuggingFace folder and returns the pack in its tokens."""
    if pack.tokens is None or any("tokens" not in s.arrays for t in pack.tasks for s in t.splits.values()):
        raise ValueError(f"the pack '{pack.suite}' must hold texts only")
    original = json.loads((source / _TOKENIZER).read_text(encoding="utf-8"))
    original |= {"truncation": None, "padding": None}  # the length of a row is the pack's
    texts = _texts(pack)
    kept = sorted(original["model"]["vocab"].values())
    if not whole_vocabulary:
        kept = _used_ids(original, [parts for rows in texts.values() for parts in rows])
    tokenizer = _with_vocabulary(original, kept)
    _write_base(source, folder, tokenizer, kept)
    tokens = wordpiece_table(tokenizer)
    maker = RowMaker(Tokenizer.from_str(tokens.tokenizer.decode()), tokens, START, SEPARATOR)
    tasks = tuple(_in_tokens(task, texts, maker, len(tokens)) for task in pack.tasks)
    return TaskPack(f"{pack.suite}_minilm", manifest_sha256(MANIFEST), tasks, tokens)


def wordpiece_table(tokenizer: dict) -> TokenTable:
    """Texts come back in small letters and with single spaces: WordPiece keeps no more of them."""
    content = json.dumps(tokenizer, ensure_ascii=False).encode()
    ids = tokenizer["model"]["vocab"]
    names = sorted(ids, key=ids.__getitem__)
    return TokenTable(
        tokenizer=content,
        tokenizer_sha256=hashlib.sha256(content).hexdigest(),
        table=tuple(map(_bytes_of, names)),
        special=frozenset(ids[name] for name in _SPECIAL),
        pad=ids[PAD],
        mask=ids[MASK],
    )


def _bytes_of(piece: str) -> bytes:
    if piece in _SPECIAL:
        return piece.encode()
    return piece.removeprefix(_CONTINUES).encode() if piece.startswith(_CONTINUES) else b" " + piece.encode()


def _texts(pack: TaskPack) -> dict[tuple[str, str], list[tuple[str, ...]]]:
    """(task, split) -> the texts of its examples, two of each in a task of pairs."""
    return {
        (task.name, name): [_parts(row.tolist(), pack.tokens) for row in split.arrays["tokens"].rows()]
        for task in pack.tasks
        for name, split in task.splits.items()
    }


def _parts(row: Sequence[int], tokens: TokenTable) -> tuple[str, ...]:
    """What stands between special tokens."""
    marks = [i for i, token in enumerate(row) if token in tokens.special]
    return tuple(tokens.text(row[a + 1 : b]) for a, b in pairwise(marks))


def _used_ids(tokenizer: dict, texts: Sequence[tuple[str, ...]]) -> list[int]:
    """Ids of the special tokens, of single characters (so that any text has pieces) and of the texts.

    WordPiece takes the longest piece that fits, so with fewer pieces these texts keep theirs.
    """
    ids = tokenizer["model"]["vocab"]
    used = {ids[name] for name in _SPECIAL}
    used |= {number for piece, number in ids.items() if len(piece.removeprefix(_CONTINUES)) == 1}
    flat = [part for parts in texts for part in parts]
    for encoding in Tokenizer.from_str(json.dumps(tokenizer)).encode_batch(flat, add_special_tokens=False):
        used.update(encoding.ids)
    return sorted(used)


def _with_vocabulary(tokenizer: dict, kept: Iterable[int]) -> dict:
    """The tokenizer with only these ids, numbered anew in their order."""
    new_ids = {old: new for new, old in enumerate(kept)}
    vocabulary = tokenizer["model"]["vocab"]
    pieces = sorted((p for p in vocabulary if vocabulary[p] in new_ids), key=vocabulary.__getitem__)
    processor = tokenizer["post_processor"]
    marks = {
        name: mark | {"ids": [new_ids[old] for old in mark["ids"]]}
        for name, mark in processor["special_tokens"].items()
    }
    return tokenizer | {
        "model": tokenizer["model"] | {"vocab": {piece: new_ids[vocabulary[piece]] for piece in pieces}},
        "added_tokens": [token | {"id": new_ids[token["id"]]} for token in tokenizer["added_tokens"]],
        "post_processor": processor | {"special_tokens": marks},
    }


def _write_base(source: Path, folder: Path, tokenizer: dict, kept: list[int]) -> None:
    """Everything of the published folder; what depends on the vocabulary in the new one.

    Weights are rounded to float16, like those of the bases that come with the program: half the
    bytes, and fine-tuning moves a weight further than rounding does.
    """
    changed = {_WEIGHTS, _TOKENIZER, _VOCABULARY, _CONFIG}
    # In subfolders, files of the same names are others: 1_Pooling/config.json.
    shutil.copytree(
        source, folder, ignore=lambda at, names: changed & set(names) if Path(at) == source else set()
    )
    weights = load_file(source / _WEIGHTS)
    embedding = weights[_EMBEDDING]
    if len(tokenizer["model"]["vocab"]) != len(kept) or kept[-1] >= len(embedding):
        raise ValueError(f"{source}: every row of the embedding must be one entry of the vocabulary")
    weights[_EMBEDDING] = np.ascontiguousarray(embedding[kept])
    rounded = {n: w.astype(np.float16) if w.dtype == np.float32 else w for n, w in weights.items()}
    save_file(rounded, folder / _WEIGHTS, {"format": "pt"})
    config = json.loads((source / _CONFIG).read_text(encoding="utf-8"))
    pieces = tokenizer["model"]["vocab"]
    config |= {"vocab_size": len(pieces), "pad_token_id": pieces[PAD]}
    _write_text(folder / _CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    _write_text(folder / _TOKENIZER, json.dumps(tokenizer, ensure_ascii=False))
    _write_text(folder / _VOCABULARY, "".join(f"{piece}\n" for piece in pieces))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _in_tokens(task: Task, texts: dict, maker: RowMaker, vocabulary: int) -> Task:
    splits = {}
    for name, split in task.splits.items():
        rows = maker.rows(texts[task.name, name], TASK_LENGTH)
        arrays = split.arrays | {"tokens": Ragged.from_rows(rows, vocabulary)}
        splits[name] = replace(split, arrays=arrays)
    return replace(task, splits=splits)
