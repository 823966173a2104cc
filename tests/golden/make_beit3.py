"""Golden answers of BEiT-3, by a definition of its own.

Run: python3 make_beit3.py [FOLDER]   (default: beit3 beside this file)
With: Python 3.11, torch 2.11

Written after the paper and the names of torchscale's checkpoints, with attention row by row and a loop over what each
row looks at, in float64. Two models: one whose attention is of each sense, as torchscale
has it, and one that shares it. Weights and images are fusegrid's random numbers by their names, in [-1, 1).
"""

import json
import math
import os
import sys

import torch

from golden_io import save_golden
from random_numbers import derive_key, unit_number

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "beit3")
CONFIG = {
    "model_type": "beit3",
    "encoder_embed_dim": 8,
    "encoder_ffn_embed_dim": 12,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "img_size": 7,  # no multiple of the patch: a row and a column of pixels are left out
    "patch_size": 3,
    "vocab_size": 11,
    "max_source_positions": 9,
    "layernorm_eps": 1e-3,
}
PATCHES = 4
SENSES = ("A", "B")


def names_and_shapes(shared):
    width, hidden, vocabulary = CONFIG["encoder_embed_dim"], CONFIG["encoder_ffn_embed_dim"], CONFIG["vocab_size"]
    side = CONFIG["patch_size"]
    shapes = {
        "logit_scale": (),
        "mlm_head.weight": (vocabulary, width),
        "mlm_head.bias": (vocabulary,),
        "vision_head.weight": (width, width),
        "language_head.weight": (width, width),
        "beit3.text_embed.weight": (vocabulary, width),
        "beit3.vision_embed.cls_token": (1, 1, width),
        "beit3.vision_embed.mask_token": (1, 1, width),
        "beit3.vision_embed.proj.weight": (width, 3, side, side),
        "beit3.vision_embed.proj.bias": (width,),
        "beit3.encoder.embed_positions.A.weight": (PATCHES + 1 + 2, width),
        "beit3.encoder.embed_positions.B.weight": (CONFIG["max_source_positions"], width),
    }

    def add(name, *shape):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    for sense in SENSES:
        add(f"beit3.encoder.layer_norm.{sense}", width)
    for block in range(CONFIG["encoder_layers"]):
        prefix = f"beit3.encoder.layers.{block}"
        for sense in [""] if shared else [f".{sense}" for sense in SENSES]:
            for layer in ("q_proj", "k_proj", "v_proj", "out_proj"):
                add(f"{prefix}.self_attn.{layer}{sense}", width, width)
            add(f"{prefix}.self_attn.inner_attn_ln{sense}", width)
        for sense in SENSES:
            add(f"{prefix}.self_attn_layer_norm.{sense}", width)
            add(f"{prefix}.final_layer_norm.{sense}", width)
            add(f"{prefix}.ffn.{sense}.fc1", hidden, width)
            add(f"{prefix}.ffn.{sense}.ffn_layernorm", hidden)
            add(f"{prefix}.ffn.{sense}.fc2", width, hidden)
    return shapes


def drawn(name, shape):
    key = derive_key(7, name)
    numbers = [2 * unit_number(key, 0, e) - 1 for e in range(math.prod(shape))]
    return torch.tensor(numbers, dtype=torch.float64).view(shape)


class Model:
    """One example at a time: rows is a list of (sense, vector); looks(i, j) says whether row i looks at row j."""

    def __init__(self, weights, shared):
        self.weights = weights
        self.shared = shared

    def linear(self, name, x):
        bias = self.weights.get(f"{name}.bias")
        y = self.weights[f"{name}.weight"] @ x
        return y if bias is None else y + bias

    def norm(self, name, x):
        centred = x - x.mean()
        return (
            centred / torch.sqrt((centred**2).mean() + CONFIG["layernorm_eps"]) * self.weights[f"{name}.weight"]
            + self.weights[f"{name}.bias"]
        )

    def rows(self, image=None, tokens=()):
        rows = []
        if image is not None:
            positions = self.weights["beit3.encoder.embed_positions.A.weight"]
            kernel, side = self.weights["beit3.vision_embed.proj.weight"], CONFIG["patch_size"]
            vectors = [self.weights["beit3.vision_embed.cls_token"][0, 0]]
            for y in range(2):
                for x in range(2):
                    patch = image[:, y * side : (y + 1) * side, x * side : (x + 1) * side]
                    vectors.append((kernel * patch).sum((1, 2, 3)) + self.weights["beit3.vision_embed.proj.bias"])
            rows += [("A", vector + positions[2 + i]) for i, vector in enumerate(vectors)]
        positions = self.weights["beit3.encoder.embed_positions.B.weight"]
        return rows + [
            ("B", self.weights["beit3.text_embed.weight"][token] + positions[2 + i]) for i, token in enumerate(tokens)
        ]

    def __call__(self, rows, looks):
        heads = CONFIG["encoder_attention_heads"]
        size = CONFIG["encoder_embed_dim"] // heads
        senses, x = [sense for sense, _ in rows], [vector for _, vector in rows]
        for block in range(CONFIG["encoder_layers"]):
            prefix = f"beit3.encoder.layers.{block}"

            def attention(layer, i, vector, prefix=prefix):
                way = "" if self.shared else f".{senses[i]}"
                apply = self.norm if layer == "inner_attn_ln" else self.linear
                return apply(f"{prefix}.self_attn.{layer}{way}", vector)

            normed = [self.norm(f"{prefix}.self_attn_layer_norm.{senses[i]}", v) for i, v in enumerate(x)]
            query, key, value = (
                [attention(layer, i, v).view(heads, size) for i, v in enumerate(normed)]
                for layer in ("q_proj", "k_proj", "v_proj")
            )
            attended = []
            for i, vector in enumerate(x):
                seen = [j for j in range(len(x)) if looks(i, j)]
                mixed = []
                for head in range(heads):
                    scores = torch.stack([query[i][head] @ key[j][head] / math.sqrt(size) for j in seen])
                    shares = torch.exp(scores - scores.max())
                    shares = shares / shares.sum()
                    mixed.append(sum(share * value[j][head] for share, j in zip(shares, seen)))
                mixed = attention("inner_attn_ln", i, torch.cat(mixed))
                attended.append(vector + attention("out_proj", i, mixed))
            x = []
            for sense, vector in zip(senses, attended):
                hidden = self.linear(f"{prefix}.ffn.{sense}.fc1", self.norm(f"{prefix}.final_layer_norm.{sense}", vector))
                hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
                hidden = self.norm(f"{prefix}.ffn.{sense}.ffn_layernorm", hidden)
                x.append(vector + self.linear(f"{prefix}.ffn.{sense}.fc2", hidden))
        return [self.norm(f"beit3.encoder.layer_norm.{sense}", vector) for sense, vector in zip(senses, x)]


def answers(model, images, texts, captions):
    """What the tests compare: by kind of task."""
    first = PATCHES + 1  # the text's first row
    everything = lambda i, j: True  # noqa: E731
    apart = lambda i, j: (i < first) == (j < first)  # noqa: E731
    captioned = lambda i, j: j < first or (i >= first and j <= i)  # noqa: E731
    found = {"question": [], "pair": [], "image": [], "text": [], "caption": []}
    for image, text, (prompt, answer) in zip(images, texts, captions):
        found["question"].append(model(model.rows(image, text), everything)[0])
        rows = model(model.rows(image, text), apart)
        pair = [model.linear("vision_head", rows[0]), model.linear("language_head", rows[first])]
        found["pair"].append(torch.stack(pair))
        found["image"].append(model.linear("vision_head", model(model.rows(image), everything)[0]))
        found["text"].append(model.linear("language_head", model(model.rows(tokens=text), everything)[0]))
        rows = model(model.rows(image, prompt + answer), captioned)[first + len(prompt) - 1 :]
        logits = torch.stack([model.linear("mlm_head", row) for row in rows])
        found["caption"].append(torch.cat([logits, logits.new_zeros(4 - len(logits), logits.size(1))]))
    return {name: torch.stack(rows) for name, rows in found.items()}


def main():
    torch.set_num_threads(1)
    images = drawn("images", (2, 3, 7, 7))
    texts = [[1, 5, 7, 2], [1, 9, 3, 10, 4, 2]]
    captions = [([1, 4], [8, 6, 2]), ([1], [9, 3])]
    for name, shared in (("of_each_sense", False), ("shared", True)):
        weights = {tensor: drawn(tensor, shape) for tensor, shape in names_and_shapes(shared).items()}
        config = CONFIG | ({"shared_attention": True} if shared else {})
        expected = answers(Model(weights, shared), images, texts, captions)
        save_golden(os.path.join(OUT, f"{name}.safetensors"), expected, {"config": json.dumps(config)})


if __name__ == "__main__":
    main()
