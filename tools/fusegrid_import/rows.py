"""Texts of a data set's rows by template, and token ids by a checkpoint's tokenizer.json."""

import json
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer

from packs.tokens import Ragged, TokenTable
from text_data.tokenizer import visible_bytes

from .examples import Chosen
from .job import Job, sha256_of
from .models import read_config
from .suite import TaskEntry

_LONGEST = 512  # of a row, where neither the suite nor the model says less
_PADS = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|endoftext|>", "<unk>", "</s>")
_MASKS = ("[MASK]", "<mask>")
_MARK = "\u2581"  # a space, as SentencePiece writes it


# ---- templates -------------------------------------------------------------------------------------------------------


def columns_of(template: str) -> list[str]:
    """The columns that a template names: "{premise} {hypothesis}"."""
    return [name.split(".")[0].split("[")[0] for _, name, _, _ in string.Formatter().parse(template) if name]


def filled(template: str, row: dict, where: str) -> str:
    try:
        return template.format_map(row)
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(f"{where}: the template '{template}' does not fit a row: {error!r}") from None


def templates(task: TaskEntry, name: str, most: int = 1) -> list[str]:
    given = task.need(name)
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, list) or not 1 <= len(found) <= most or not all(isinstance(each, str) for each in found):
        raise ValueError(
            f"task '{task.name}': '{name}' must be a template" + (f", or up to {most}" if most > 1 else "")
        )
    if not any(map(columns_of, found)):
        raise ValueError(f"task '{task.name}': '{name}' must name a column in braces, but it is {json.dumps(given)}")
    return found


def read_rows(chosen: Chosen, columns: Sequence[str], what: str) -> list[dict]:
    """In the order in which they are stored."""
    rows: list[dict] = [{}] * len(chosen)
    for place, row in chosen.read(sorted(set(columns)), what):
        if empty := [name for name, value in row.items() if value is None]:
            raise ValueError(f"{chosen.table.where}: every row must have a value in the column '{empty[0]}'")
        rows[place] = row
    return rows


# ---- tokens ----------------------------------------------------------------------------------------------------------


class Tokens:
    """The tokenizer of a suite's models: texts to ids, and the table of a pack."""

    def __init__(self, job: Job) -> None:
        name = job.suite.tokenizer
        folder = job.roots.model(name, job.suite.folder) if name else job.base
        self.path = folder / "tokenizer.json"
        if not self.path.is_file():
            raise ValueError(
                f"{self.path} must be there, but is missing; save it with AutoTokenizer.from_pretrained(BASE)."
                "save_pretrained(FOLDER), and give FOLDER as 'tokenizer' in the suite"
            )
        self.tokenizer = Tokenizer.from_file(str(self.path))
        self.tokenizer.no_padding()
        self.longest = _longest(job)
        self.sha256 = sha256_of(self.path)
        self._config = read_config(job.base)
        for expert in job.experts.values():
            self._check_expert(expert)

    def ids(self, texts: Sequence, longest: int | None = None, special: bool = True) -> list[list[int]]:
        return [encoding.ids for encoding in self.encoded(texts, longest, special)]

    def encoded(self, texts: Sequence, longest: int | None = None, special: bool = True) -> list[Encoding]:
        """texts: strings, or pairs of them. Rows are cut to `longest` tokens, of a pair the longer text first."""
        self.tokenizer.no_truncation()
        if longest is not None:
            self.tokenizer.enable_truncation(longest)
        return self.tokenizer.encode_batch(list(texts), add_special_tokens=special)

    def separator(self) -> int:
        """The token that ends the first text of a pair, which belongs to that text."""
        pair = self.tokenizer.encode("a", "b")
        return pair.ids[max(i for i, kind in enumerate(pair.type_ids) if kind == 0)]

    def ragged(self, rows: Sequence[Sequence[int]], where: str) -> Ragged:
        if not all(map(len, rows)):
            raise ValueError(f"{where}: every text must have a token, but one has none; leave empty texts out")
        return Ragged.from_rows(rows, self.size)

    @property
    def size(self) -> int:
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def table(self, stored: Sequence[Ragged], separator: int | None = None) -> TokenTable:
        """stored: all rows of the pack, which must not have the id of padding. separator: see TokenTable."""
        content = self.path.read_bytes()
        added = {each["id"]: each for each in json.loads(content).get("added_tokens", [])}
        names = {i: name for name, i in self.tokenizer.get_vocab(with_added_tokens=True).items()}
        spell = _spelling(json.loads(content))
        holes = set(range(self.size)) - set(names)
        special = {i for i, each in added.items() if each["special"]} | holes
        return TokenTable(
            tokenizer=content,
            tokenizer_sha256=self.sha256,
            table=tuple(
                names.get(i, f"<{i}>").encode() if i in special or i in added else spell(names[i])
                for i in range(self.size)
            ),
            special=frozenset(special),
            pad=self._pad(stored, special),
            mask=next(filter(None, map(self.tokenizer.token_to_id, _MASKS)), None),
            separator=separator,
        )

    def _pad(self, stored: Sequence[Ragged], special: set[int]) -> int:
        used = set(np.unique(np.concatenate([np.unique(rows.values) for rows in stored])).tolist())
        named = [self._config.get("pad_token_id"), *map(self.tokenizer.token_to_id, _PADS)]
        # Where the one of padding ends answers, any other does: what fills rows up is never looked at.
        others = [*sorted(special), *range(self.size - 1, -1, -1)]
        free = [i for i in [*named, *others] if i is not None and 0 <= i < self.size and i not in used]
        if not free:
            raise ValueError(f"{self.path} must have a token that no row has, for padding, but rows have all of them")
        return free[0]

    def _check_expert(self, expert: Path) -> None:
        own = expert / "tokenizer.json"
        if own.is_file() and sha256_of(own) != self.sha256:
            if Tokenizer.from_file(str(own)).get_vocab() != self.tokenizer.get_vocab():
                raise ValueError(
                    f"{own} must have the vocabulary of {self.path}, but has another one; experts of one zoo read "
                    "the same tokens"
                )


def check_types(encodings: Sequence[Encoding], separator: int, where: str) -> None:
    """Whether what is behind the first separator of a row, and nothing else, is of type 1: a pack says no more."""
    for each in encodings:
        first = each.ids.index(separator) if separator in each.ids else len(each.ids)
        if each.type_ids != [int(i > first) for i in range(len(each.ids))]:
            raise ValueError(
                f"{where}: the tokens behind the first {each.tokens[first:][:1]} of a row, and no others, must be of type "
                f"1, but of '{' '.join(each.tokens)}' the tokenizer says {each.type_ids}; a text must not have that token, "
                "and the tokenizer must give the second text of a pair the type 1"
            )


def _longest(job: Job) -> int:
    config = read_config(job.base)
    positions = config.get("max_position_embeddings") or config.get("n_positions") or _LONGEST
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert"):
        positions -= (config.get("pad_token_id") or 1) + 1
    if job.suite.longest and job.suite.longest > positions:
        raise ValueError(
            f"{job.suite.path}: longest must be at most {positions}, what the base reads, but it is "
            f"{job.suite.longest}"
        )
    return job.suite.longest or min(positions, _LONGEST)


def _spelling(tokenizer: dict):
    """From the name of an id to its bytes."""
    parts = json.dumps([tokenizer.get("pre_tokenizer"), tokenizer.get("decoder")])
    if '"ByteLevel"' in parts:
        to_byte = {character: byte for byte, character in visible_bytes().items()}
        return lambda name: bytes(to_byte[character] for character in name)
    if tokenizer["model"].get("type") == "WordPiece":
        mark = tokenizer["model"].get("continuing_subword_prefix", "##")
        return lambda name: name.removeprefix(mark).encode() if name.startswith(mark) else b" " + name.encode()
    is_byte = lambda name: len(name) == 6 and name.startswith("<0x")
    return lambda name: bytes([int(name[3:5], 16)]) if is_byte(name) else name.replace(_MARK, " ").encode()
