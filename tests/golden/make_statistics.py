"""Golden values of methods that rest on statistics of data, computed a second way in float64.

Run: python make_statistics.py [OUTPUT_FOLDER]   (default: methods/ beside this file)

RegMean++: a forward pass of CLIP's vision tower written out here, the solve by numpy's LU of the normal equations.
MaTS: the dense system of a layer, (sum_i A_i kron B_i) vec(W) = vec(sum_i B_i W_i A_i), by least squares around the
start; the Gram matrices are those of inputs__gram, one for q, k and v, and B_i = I + tau_i tau_i^T / |tau_i|^2.
"""

import os
import struct
import json
import sys

import numpy as np
import torch

import zoo
from golden_io import canonical, save_golden

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "methods")

# ---- RegMean++

WIDTH, HEADS, INNER, BLOCKS, SIDE, PATCH = 4, 2, 6, 2, 8, 4
RATIO = 0.9


def tower_shapes():
    shapes = {
        "vision_model.embeddings.class_embedding": (WIDTH,),
        "vision_model.embeddings.patch_embedding.weight": (WIDTH, 3, PATCH, PATCH),
        "vision_model.embeddings.position_embedding.weight": ((SIDE // PATCH) ** 2 + 1, WIDTH),
        "vision_model.post_layernorm.bias": (WIDTH,),
        "vision_model.post_layernorm.weight": (WIDTH,),
        "vision_model.pre_layrnorm.bias": (WIDTH,),
        "vision_model.pre_layrnorm.weight": (WIDTH,),
    }
    for block in range(BLOCKS):
        p = f"vision_model.encoder.layers.{block}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[p + f"self_attn.{name}.weight"] = (WIDTH, WIDTH)
            shapes[p + f"self_attn.{name}.bias"] = (WIDTH,)
        shapes[p + "mlp.fc1.weight"], shapes[p + "mlp.fc1.bias"] = (INNER, WIDTH), (INNER,)
        shapes[p + "mlp.fc2.weight"], shapes[p + "mlp.fc2.bias"] = (WIDTH, INNER), (WIDTH,)
        for norm in ("layer_norm1", "layer_norm2"):
            shapes[p + norm + ".weight"], shapes[p + norm + ".bias"] = (WIDTH,), (WIDTH,)
    return dict(sorted(shapes.items()))


def random_tower(rng, like=None):
    tower = {}
    for name, shape in tower_shapes().items():
        value = rng.standard_normal(shape) * (0.2 if like else 0.5)
        if like:
            value += like[name]
        elif "norm" in name and name.endswith("weight"):
            value += 1
        tower[name] = value.astype(np.float32).astype(np.float64)
    return tower


def norm(w, name, x):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
    return x * w[name + ".weight"] + w[name + ".bias"]


def embedded(w, images):
    x = (images.astype(np.float64) / 255 - 0.5) / 0.5
    patches = x.reshape(len(x), 3, SIDE // PATCH, PATCH, SIDE // PATCH, PATCH)
    patches = patches.transpose(0, 2, 4, 1, 3, 5).reshape(len(x), -1, 3 * PATCH * PATCH)
    kernel = w["vision_model.embeddings.patch_embedding.weight"].reshape(WIDTH, -1)
    rows = patches @ kernel.T
    first = np.broadcast_to(w["vision_model.embeddings.class_embedding"], (len(x), 1, WIDTH))
    rows = np.concatenate([first, rows], 1) + w["vision_model.embeddings.position_embedding.weight"]
    return norm(w, "vision_model.pre_layrnorm", rows)


def block_of(w, block, x, seen):
    """The block's output; `seen` gets the inputs of its layers, by the layer's name."""
    p = f"vision_model.encoder.layers.{block}."

    def affine(name, rows):
        seen[p + name] = rows.reshape(-1, rows.shape[-1])
        return rows @ w[p + name + ".weight"].T + w[p + name + ".bias"]

    normed = norm(w, p + "layer_norm1", x)
    q, k, v = (affine(f"self_attn.{n}_proj", normed) for n in "qkv")
    heads = []
    size = WIDTH // HEADS
    for h in range(HEADS):
        own = slice(h * size, (h + 1) * size)
        scores = q[..., own] @ k[..., own].transpose(0, 2, 1) / np.sqrt(size)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        heads.append(scores / scores.sum(-1, keepdims=True) @ v[..., own])
    x = x + affine("self_attn.out_proj", np.concatenate(heads, -1))
    inner = affine("mlp.fc1", norm(w, p + "layer_norm2", x))
    return x + affine("mlp.fc2", inner / (1 + np.exp(-1.702 * inner)))


def regression(weights, inputs):
    left, right = 0, 0
    for weight, x in zip(weights, inputs):
        gram = x.T @ x / len(x)
        gram = RATIO * gram + (1 - RATIO) * np.diag(np.diag(gram))
        left, right = left + gram, right + gram @ weight.T
    return np.linalg.solve(left, right).T


def make_regmean_plusplus():
    rng = np.random.default_rng(7)
    base = random_tower(rng)
    experts = [random_tower(rng, base) for _ in range(2)]
    images = [rng.integers(0, 256, (6, 3, SIDE, SIDE), dtype=np.uint8) for _ in experts]
    merged = {name: sum(e[name] for e in experts) / len(experts) for name in base}
    hidden = [embedded(merged, i) for i in images]
    for block in range(BLOCKS):
        seen = [{} for _ in experts]
        for expert, x, into in zip(experts, hidden, seen):
            block_of(expert, block, x, into)
        for layer in seen[0]:
            name = layer + ".weight"
            merged[name] = regression([e[name] for e in experts], [s[layer] for s in seen])
        hidden = [block_of(merged, block, x, {}) for x in hidden]
    tensors = {}
    for index, (expert, pixels) in enumerate(zip(experts, images)):
        flat = np.concatenate([expert[name].ravel() for name in base]).astype(np.float32)
        tensors[f"expert{index}"] = torch.from_numpy(flat)
        tensors[f"images{index}"] = torch.from_numpy(pixels)
    flat = np.concatenate([merged[name].ravel() for name in base])
    tensors["merged"] = torch.from_numpy(flat.astype(np.float32))
    save_golden(os.path.join(OUT, "regmean_plusplus__two_blocks.safetensors"), tensors,
                metadata("regmean_plusplus", dict(ratio=RATIO)))


# ---- MaTS


def read(name):
    """{name: float64 array} of a golden file."""
    with open(os.path.join(HERE, "methods", name + ".safetensors"), "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    dtypes = {"F64": np.float64, "F32": np.float32}
    tensors = {}
    for key, info in header.items():
        if key != "__metadata__" and info["dtype"] in dtypes:
            begin, end = info["data_offsets"]
            tensors[key] = np.frombuffer(data[begin:end], dtypes[info["dtype"]]).reshape(info["shape"])
    return tensors


def make_mats():
    base, experts = zoo.make_zoo()
    grams = read("inputs__gram")
    prefix = "vision_model.encoder.layers.0."
    layers = [prefix + n for n in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                   "self_attn.out_proj", "mlp.fc1", "mlp.fc2")]
    for blocks in ("gram", "kfac"):
        tensors = {}
        for layer in layers:
            name = layer + ".weight"
            read_by = prefix + "self_attn.q_proj" if layer[-6:] in ("q_proj", "k_proj", "v_proj") else layer
            origin = base[name].numpy()
            taus = [e[name].numpy() - origin for e in experts]
            start = origin + 0.3 * sum(taus)
            rows, columns = origin.shape
            system, right = np.zeros((rows * columns,) * 2), np.zeros(rows * columns)
            for index, tau in enumerate(taus):
                a = grams[f"expert{index}/{read_by}"]
                b = np.eye(rows) + (tau @ tau.T / (tau**2).sum() if blocks == "kfac" else 0)
                system += np.kron(a, b)  # of the columns of W one below the other
                right += (b @ (origin + tau) @ a).ravel(order="F")
            step = np.linalg.lstsq(system, right - system @ start.ravel(order="F"), rcond=1e-12)[0]
            tensors[name] = torch.from_numpy((start + step.reshape((rows, columns), order="F")).astype(np.float32))
        save_golden(os.path.join(OUT, f"mats__{blocks}.safetensors"), tensors,
                    metadata("mats", dict(blocks=blocks, init="task_arithmetic", init_scale=0.3)))


def metadata(method, options):
    return dict(method=method, options=canonical(options), dtype="float64",
                original="make_statistics.py (independent numpy computation)", package="numpy " + np.__version__)


if __name__ == "__main__":
    make_regmean_plusplus()
    make_mats()
