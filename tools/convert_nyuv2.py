#!/usr/bin/env python3
"""Makes a folder that tools/fusegrid_import dense reads of a dilated ResNet with torchvision's names of tensors.

    tools/data_python tools/convert_nyuv2.py STATE.safetensors --out FOLDER [--task NAME]

STATE has the state dict of torchvision's ResNet, or that of FusionBench's NYUv2Model: an encoder, perhaps behind
`model.`, and a DeepLab head `decoders.NAME`, which --task asks for and which FOLDER then has under `head.`.
Checkpoints that are pickles become such a file with torch: docs/your_models.md.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from packs.command import run

_DILATIONS = (12, 24, 36)
_SIZE = (288, 384)
_BLOCK = r"layer(\d+)\.(\d+)\."


def _block(stage: str, block: str) -> str:
    return f"encoder.stages.{int(stage) - 1}.layers.{block}."


def _branch(number: str) -> str:
    return f"aspp.{(0, *_DILATIONS)[int(number)]}."


# What torchvision calls a tensor, and what the program does, of the groups of the pattern.
_BODY = (
    (r"conv1\.(.+)", lambda part: f"embedder.embedder.convolution.{part}"),
    (r"bn1\.(.+)", lambda part: f"embedder.embedder.normalization.{part}"),
    (_BLOCK + r"conv(\d)\.(.+)", lambda s, b, i, part: f"{_block(s, b)}layer.{int(i) - 1}.convolution.{part}"),
    (_BLOCK + r"bn(\d)\.(.+)", lambda s, b, i, part: f"{_block(s, b)}layer.{int(i) - 1}.normalization.{part}"),
    (_BLOCK + r"downsample\.0\.(.+)", lambda s, b, part: f"{_block(s, b)}shortcut.convolution.{part}"),
    (_BLOCK + r"downsample\.1\.(.+)", lambda s, b, part: f"{_block(s, b)}shortcut.normalization.{part}"),
)
_HEAD = (
    (r"0\.convs\.([0-3])\.0\.weight", lambda number: f"{_branch(number)}weight"),
    (r"0\.convs\.([0-3])\.1\.(.+)", lambda number, part: f"{_branch(number)}norm.{part}"),
    (r"0\.convs\.4\.1\.weight", lambda: "pool.weight"),
    (r"0\.convs\.4\.2\.(.+)", lambda part: f"pool.norm.{part}"),
    (r"0\.project\.0\.weight", lambda: "project.weight"),
    (r"0\.project\.1\.(.+)", lambda part: f"project.norm.{part}"),
    (r"1\.weight", lambda: "conv.weight"),
    (r"2\.(.+)", lambda part: f"norm.{part}"),
    (r"4\.(weight|bias)", lambda part: part),
)
_LEFT_OUT = re.compile(r"(fc\..*|.*\.num_batches_tracked)")

Tensors = dict[str, np.ndarray]


def renamed(name: str, rules: Sequence[tuple[str, Callable[..., str]]]) -> str | None:
    matches = ((re.fullmatch(pattern, name), new_name) for pattern, new_name in rules)
    return next((new_name(*match.groups()) for match, new_name in matches if match), None)


def converted(state: Tensors, task: str | None) -> Tensors:
    state = {name.removeprefix("model."): tensor for name, tensor in state.items() if not name.startswith("metrics.")}
    is_whole = any(name.startswith("encoder.") for name in state)
    heads = sorted({name.split(".")[1] for name in state if name.startswith("decoders.")})
    if is_whole != (task is not None) or (task and task not in heads):
        raise ValueError(
            f"--task must name the head of an expert, and is left out for a base without heads; this file has the heads "
            f"{', '.join(heads) or 'of no task'}, but --task is {task}"
        )
    made: Tensors = {}
    for name, tensor in state.items():
        if name.startswith("decoders."):
            if name.split(".")[1] != task:
                continue
            rules, prefix, plain = _HEAD, "head.", name.split(".", 2)[2]
        else:
            rules, prefix, plain = _BODY, "", name.removeprefix("encoder.")
        if _LEFT_OUT.fullmatch(plain):
            continue
        if (new := renamed(plain, rules)) is None:
            raise ValueError(f"the tensor {name} must be one of a ResNet or a DeepLab head by torchvision's names")
        made[prefix + new] = tensor[:, :, 0, 0] if prefix + new == "head.weight" else tensor
    return made


def config_of(tensors: Tensors) -> dict:
    """What the shapes say."""
    stages = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.stages."))
    last = "encoder.stages.{}.layers.{}.layer.2.convolution.weight"
    if last.format(0, 0) not in tensors:
        raise ValueError("the ResNet must have bottleneck blocks of three convolutions, as ResNet-50 has")
    depths = [sum(last.format(stage, block) in tensors for block in range(1000)) for stage in range(stages)]
    return {
        "model_type": "resnet",
        "embedding_size": len(tensors["embedder.embedder.convolution.weight"]),
        "hidden_sizes": [len(tensors[last.format(stage, 0)]) for stage in range(stages)],
        "depths": depths,
        "layer_type": "bottleneck",
        "output_stride": 8,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", help="the head that is the expert's own")
    parser.add_argument("--size", type=int, nargs=2, default=_SIZE, help="height and width (default: 288 384)")
    given = parser.parse_args(arguments)
    tensors = converted(load_file(given.state), given.task)
    given.out.mkdir(parents=True, exist_ok=True)
    # Images from 0 to 1 are read as they are.
    processor = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3, "do_resize": False}
    config = config_of(tensors) | {"image_size": list(given.size)}
    save_file({name: np.ascontiguousarray(each) for name, each in tensors.items()}, given.out / "model.safetensors")
    for name, content in (("config.json", config), ("preprocessor_config.json", processor)):
        (given.out / name).write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
