"""Golden answers of the diffusion transformer, by diffusers.

Run: python3 tests/golden/make_dit.py [FOLDER]   (default: dit beside this file)
With: Python 3.11, torch 2.11, diffusers 0.35.2, safetensors 0.8.0, numpy 1.26.4

A small model with random weights in float32, which is then run in float64. Its table of labels is read once with one
thing asked for, as diffusers does, and once with two, whose rows are added. States and times are multiples of 1/8.
"""

import json
import os
import sys

import torch
from diffusers import DiTTransformer2DModel
from safetensors.torch import save_file

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "dit")
CONFIG = {
    "num_attention_heads": 2,
    "attention_head_dim": 4,
    "in_channels": 2,
    "out_channels": 2,
    "num_layers": 2,
    "sample_size": 6,
    "patch_size": 2,
    "num_embeds_ada_norm": 5,
    "norm_eps": 1e-3,
}


class SumOfRows(torch.nn.Module):
    def __init__(self, embedder):
        super().__init__()
        self.table = embedder.embedding_table

    def forward(self, labels, force_drop_ids=None):
        return self.table(labels).sum(1)


def main():
    torch.manual_seed(0)
    model = DiTTransformer2DModel(**CONFIG).eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape) * 0.4)
    os.makedirs(OUT, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, os.path.join(OUT, "model.safetensors"))
    model = model.double()
    state = torch.randint(-8, 9, (3, 2, 6, 6)).double() / 8
    time = torch.tensor([0.0, 0.375, 0.875], dtype=torch.float64)
    one, two = torch.tensor([[0], [3], [4]]), torch.tensor([[0, 3], [1, 4], [2, 2]])
    answers = {}
    with torch.no_grad():
        answers["one"] = model(state, timestep=1000 * time, class_labels=one[:, 0]).sample
        for block in model.transformer_blocks:
            block.norm1.emb.class_embedder = SumOfRows(block.norm1.emb.class_embedder)
        answers["two"] = model(state, timestep=1000 * time, class_labels=two).sample
    json.dump(
        {
            "config": CONFIG | {"model_type": "dit"},
            "state": state.tolist(),
            "time": time.tolist(),
            "one": one.tolist(),
            "two": two.tolist(),
            "answer_to_one": answers["one"].tolist(),
            "answer_to_two": answers["two"].tolist(),
        },
        open(os.path.join(OUT, "expected.json"), "w"),
    )
    json.dump(CONFIG | {"model_type": "dit"}, open(os.path.join(OUT, "config.json"), "w"), indent=1)


main()
