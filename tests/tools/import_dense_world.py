"""A dilated ResNet with torchvision's names and DeepLab heads, small and random; images with maps in folders of arrays."""

import importlib.util

import numpy as np
from safetensors.numpy import save_file

from import_world import drawn, random
from support import ROOT

SIZE = (32, 40)
CLASSES = ["floor", "wall", "chair"]
OUTPUTS = {"segmentation": 3, "depth": 1, "normal": 3}
_WIDTHS, _HIDDEN = (4, 4, 8, 8), 4


def _norm(name, width):
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def body_shapes():
    shapes = {"conv1.weight": (4, 3, 7, 7), **_norm("bn1", 4)}
    width = 4
    for stage, out in enumerate(_WIDTHS, 1):
        for block in range(2 if stage == 4 else 1):
            name, inner = f"layer{stage}.{block}.", out // 4
            for number, (rows, columns, side) in enumerate(((inner, width, 1), (inner, inner, 3), (out, inner, 1)), 1):
                shapes |= {f"{name}conv{number}.weight": (rows, columns, side, side), **_norm(f"{name}bn{number}", rows)}
            if width != out or (stage > 1 and block == 0):
                shapes |= {f"{name}downsample.0.weight": (out, width, 1, 1), **_norm(f"{name}downsample.1", out)}
            width = out
    return shapes


def head_shapes(outputs):
    shapes = {f"0.convs.{i}.0.weight": (_HIDDEN, _WIDTHS[-1], *((1, 1) if i == 0 else (3, 3))) for i in range(4)}
    for i in range(4):
        shapes |= _norm(f"0.convs.{i}.1", _HIDDEN)
    shapes |= {"0.convs.4.1.weight": (_HIDDEN, _WIDTHS[-1], 1, 1), **_norm("0.convs.4.2", _HIDDEN)}
    shapes |= {"0.project.0.weight": (_HIDDEN, 5 * _HIDDEN, 1, 1), **_norm("0.project.1", _HIDDEN)}
    shapes |= {"1.weight": (_HIDDEN, _HIDDEN, 3, 3), **_norm("2", _HIDDEN)}
    return shapes | {"4.weight": (outputs, _HIDDEN, 1, 1), "4.bias": (outputs,)}


def _positive(tensors):
    return {name: np.abs(each) + 0.5 if name.endswith("running_var") else each for name, each in tensors.items()}


def base_state():
    extra = {"fc.weight": np.zeros((5, 8), np.float32), "bn1.num_batches_tracked": np.array(7)}
    return _positive(drawn(body_shapes(), "base")) | extra


def expert_state(task, classes=len(CLASSES)):
    """As Lightning keeps it: the encoder and all heads, of which one was trained."""
    shapes = {f"encoder.{name}": shape for name, shape in body_shapes().items()}
    for name, outputs in (OUTPUTS | {"segmentation": classes}).items():
        shapes |= {f"decoders.{name}.{part}": shape for part, shape in head_shapes(outputs).items()}
    return {f"model.{name}": each for name, each in _positive(drawn(shapes, task)).items()}


def convert(*arguments):
    """tools/convert_nyuv2.py."""
    spec = importlib.util.spec_from_file_location("convert_nyuv2", ROOT / "tools/convert_nyuv2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main([str(argument) for argument in arguments])


def write_models(folder, name="{}", classes=len(CLASSES)):
    """A base and an expert for each task, in folders of these names."""
    state = folder / "state.safetensors"
    save_file(base_state(), state)
    convert(state, "--out", folder / name.format("base"), "--size", *SIZE)
    for task in OUTPUTS:
        save_file(expert_state(task, classes), state)
        convert(state, "--out", folder / name.format(task), "--task", task, "--size", *SIZE)
    state.unlink()


def hub_row(split, number):
    """As data sets of the hub have it: channels first."""
    made = row(split, number)
    made["segmentation"] = made.pop("label")
    return {name: (a.transpose(2, 0, 1) if a.ndim == 3 else a).tolist() for name, a in made.items()}


def row(split, number):
    """Of the published layout: channels last, classes from -1, depths of 0 and vectors of 0 where nothing is known."""
    stream = random(f"{split}/{number}")
    normals = stream.normal(size=(*SIZE, 3)).astype(np.float32)
    normals /= np.sqrt((normals**2).sum(-1, keepdims=True))
    normals[:4] = 0
    depth = stream.uniform(0.5, 9, (*SIZE, 1)).astype(np.float32)
    depth[:, :3] = 0
    return {
        "image": stream.uniform(0, 1, (*SIZE, 3)).astype(np.float32),
        "label": stream.integers(-1, len(CLASSES), SIZE).astype(np.float32),
        "depth": depth,
        "normal": normals,
    }


def write_rows(folder, splits):
    for split, count in splits.items():
        for number in range(count):
            for column, array in row(split, number).items():
                path = folder / split / column / f"{number}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
