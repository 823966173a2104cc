"""Checkpoint folders: whether they are whole and fit together, and single tensors of them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .hub import repository_name

# What models with a head have in front of the names of the body.
_PREFIXES = ("base_model.model.", "vision_model.", "bert.", "roberta.", "transformer.", "vit.", "resnet.")
_HEADS = ("classifier.", "score.", "pooler.", "lm_head.", "text_model.", "head.")


def read_config(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def weight_files(folder: Path) -> list[Path]:
    """Those of a model or adapter; ValueError where one is missing or cut off."""
    index = folder / "model.safetensors.index.json"
    if is_adapter(folder):
        names = ["adapter_model.safetensors"]
    elif index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    for name in names:
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} must have the file {name}, but has not; download it again, or save the model as "
                "safetensors (save_pretrained does)"
            )
        read_header(folder / name)
    return [folder / name for name in names]


def read_header(path: Path) -> dict:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length <= size:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            start = 8 + length
            if size == start + max((tensor["data_offsets"][1] for tensor in header.values()), default=0):
                return {
                    name: tensor | {"start": start + tensor["data_offsets"][0]} for name, tensor in header.items()
                }
    raise ValueError(
        f"{path}: the file must be as long as its header says, but it has {size} bytes; the download was "
        "interrupted, so download it again"
    )


def plain_name(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}


def read_tensors(folder: Path, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    """Those of floating-point numbers whose plain name is wanted, by that name, as float32."""
    tensors = {}
    for file in weight_files(folder):
        for name, entry in read_header(file).items():
            if wanted(plain_name(name)) and entry["dtype"] in _DTYPES:
                values = np.fromfile(
                    file, _DTYPES[entry["dtype"]], int(np.prod(entry["shape"])), offset=entry["start"]
                )
                if entry["dtype"] == "BF16":
                    values = (values.astype(np.uint32) << 16).view(np.float32)
                tensors[plain_name(name)] = values.astype(np.float32).reshape(entry["shape"])
    return tensors


def check_model(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} must be a model, but has no config.json; download it again")
    weight_files(folder)


def check_expert(base: Path, expert: Path, adapter_base: str | None) -> None:
    """Whether the expert can be one of this base."""
    if is_adapter(expert):
        weight_files(expert)
        _check_adapter(base, expert, adapter_base)
        return
    check_model(expert)
    ours, theirs = _shapes(base), _shapes(expert)
    common = [name for name in theirs if name in ours and not name.startswith(_HEADS)]
    body = [name for name in theirs if not name.startswith(_HEADS) and not name.endswith("position_ids")]
    if different := [name for name in common if ours[name] != theirs[name]]:
        name = different[0]
        raise ValueError(
            f"{expert} must be an expert of the base {base}, but {name} is {theirs[name]} and not "
            f"{ours[name]}; name the base that it was trained from"
        )
    if 2 * len(common) < len(body):
        raise ValueError(
            f"{expert} must be an expert of the base {base}, but they share {len(common)} of {len(body)} "
            "tensors; name the base that it was trained from"
        )


def _check_adapter(base: Path, adapter: Path, adapter_base: str | None) -> None:
    said = json.loads((adapter / "adapter_config.json").read_text()).get("base_model_name_or_path") or ""
    wanted = adapter_base or repository_name(base)
    if said.rstrip("/").rsplit("/", 1)[-1] != wanted.rsplit("/", 1)[-1]:
        raise ValueError(
            f"{adapter} is an adapter of '{said}', but the base is '{wanted}'; name the base that it was "
            'trained on, or say what adapters call it with "adapter_base" in the suite'
        )


def _shapes(folder: Path) -> dict[str, list[int]]:
    return {
        plain_name(name): tensor["shape"]
        for file in weight_files(folder)
        for name, tensor in read_header(file).items()
    }
