#!/usr/bin/env python3
"""Trains the judge of glyphs16 on the train split of all cells, and says how often it is right on val and test.

Run it from the root of the repository, with PyTorch 2.11 beside the packages of tools/requirements-data.txt:

    PYTHONPATH=tools:... python3 tools/glyph_data/train_judge.py PACK.npz

PACK.npz has the arrays of each split, pictures [n, 1, side, side], labels and styles; --export writes it with
tools/data_python. What is trained is committed as judge.safetensors, in float16: it is a part of the definition of the
scores and is made again only with a new pack.
"""

import argparse
import math
from pathlib import Path

import numpy as np

STEPS, BATCH, RATE = 2000, 64, 3e-3


def export(path: Path) -> None:
    from glyph_data.suite import MANIFEST, find_letters, make_glyphs_pack
    from packs.command import command_parser
    from packs.sources import prepare_sources
    from packs.task_pack import SPLITS

    cache = command_parser(__doc__).parse_args([]).cache
    pack = make_glyphs_pack(find_letters(prepare_sources(MANIFEST, cache)), None)
    arrays = {
        f"{split}_{name}": np.concatenate([task.splits[split].arrays[name] for task in pack.tasks])
        for split in SPLITS
        for name in ("images", "labels", "styles")
    }
    np.savez(path, **arrays)


def train(path: Path) -> None:
    import torch
    from safetensors.numpy import save_file
    from torch.nn import functional as F

    from glyph_data.judge import CHANNELS, WEIGHTS

    data = {name: torch.from_numpy(array.astype(np.int64 if array.ndim == 1 else np.float32)) for name, array in np.load(path).items()}
    classes, styles = (int(data[f"train_{name}"].max()) + 1 for name in ("labels", "styles"))
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes = (1, *CHANNELS)
    shapes = {f"layers.{i}": (sizes[i + 1], sizes[i], 3, 3) for i in range(len(CHANNELS))}
    shapes["classifier"] = (classes + styles, CHANNELS[-1])
    tensors = {}
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = (torch.randn(shape) * math.sqrt(2 / math.prod(shape[1:]))).requires_grad_()
        tensors[f"{name}.bias"] = torch.zeros(shape[0]).requires_grad_()

    def logits(pictures, of):
        x = pictures / 127.5 - 1
        for i in range(len(CHANNELS)):
            x = F.relu(F.conv2d(x, of[f"layers.{i}.weight"], of[f"layers.{i}.bias"], padding=1))
            x = F.max_pool2d(x, 2) if i + 1 < len(CHANNELS) else x
        return F.linear(x.mean((2, 3)), of["classifier.weight"], of["classifier.bias"])

    optimiser = torch.optim.AdamW(tensors.values(), RATE, weight_decay=1e-2)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / STEPS))
        chosen = torch.randint(len(data["train_labels"]), (BATCH,))
        y = logits(data["train_images"][chosen], tensors)
        loss = F.cross_entropy(y[:, :classes], data["train_labels"][chosen]) + F.cross_entropy(
            y[:, classes:], data["train_styles"][chosen]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 200 == 0:
            print(step, float(loss), flush=True)
    kept = {name: tensor.detach().half() for name, tensor in tensors.items()}
    save_file({name: tensor.numpy() for name, tensor in kept.items()}, WEIGHTS)
    for split in ("train", "val", "test"):
        with torch.no_grad():
            y = logits(data[f"{split}_images"], {name: tensor.float() for name, tensor in kept.items()})
        right = [
            float((part.argmax(1) == data[f"{split}_{name}"]).float().mean())
            for part, name in ((y[:, :classes], "labels"), (y[:, classes:], "styles"))
        ]
        print(f"{split}: class {right[0]:.3f}, style {right[1]:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("--export", action="store_true")
    arguments = parser.parse_args()
    (export if arguments.export else train)(arguments.pack)
