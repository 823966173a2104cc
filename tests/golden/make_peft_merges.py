"""What PEFT's add_weighted_adapter makes of adapters, for every combination type.

Run: python make_peft_merges.py [OUTPUT_FILE]   (default: peft_merges.json beside this file)

The adapters are made here and in the test by one formula, see number(). Each case has, by module, the update that the
merged adapter makes: scale * B A, [out, in], in row-major order; of (IA)^3 the merged vectors.
Random masks come from the numbers that fusegrid draws, see Draws.
"""

import json
import os
import shutil
import sys
import tempfile
import warnings

import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from random_numbers import derive_key, unit_number

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "peft_merges.json")
SEED = 3
DIGITS = 7
TOKENS, WIDTH, HIDDEN = 6, 4, 5


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(TOKENS, WIDTH)
        self.q = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, HIDDEN, bias=False)


class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_fc = Conv1D(HIDDEN, WIDTH)  # weight [in, out]


def number(seed, i):
    """In [-1, 1); the test has the same formula."""
    return ((i * i * i * 271 + i * 48271 + seed * 104729 + 12345) % 20011) / 10005.5 - 1


def tensor(seed, shape):
    values = [number(seed, i) for i in range(torch.Size(shape).numel())]
    # which of equal magnitudes is pruned is open in PEFT
    assert len({round(abs(value), 9) for value in values}) == len(values), (seed, shape)
    return torch.tensor(values, dtype=torch.float64).float().view(shape)


# adapter -> LoraConfig and the seed of its numbers
ADAPTERS = {
    "one": (dict(r=2, lora_alpha=3, target_modules=["embed", "q", "up"]), 1),
    "two": (dict(r=2, lora_alpha=2, target_modules=["embed", "q", "up"], use_rslora=True), 2),
    "three": (dict(r=2, lora_alpha=5, target_modules=["q"]), 3),
    "long": (dict(r=3, lora_alpha=6, target_modules=["q", "up"]), 4),
}
TURNED = {
    "one": (dict(r=2, lora_alpha=3, target_modules=["c_fc"], fan_in_fan_out=True), 5),
    "two": (dict(r=2, lora_alpha=4, target_modules=["c_fc"], fan_in_fan_out=True), 6),
}
THREE = ["one", "two", "three"]
WEIGHTS = [0.7, -0.4, 1.1]
CASES = [
    ("linear", {}, THREE, WEIGHTS, None),
    ("cat", {}, THREE + ["long"], WEIGHTS + [0.5], None),
    ("svd", {}, THREE + ["long"], WEIGHTS + [0.5], None),
    ("svd", {"rank": 1}, THREE, WEIGHTS, None),
    ("ties", dict(density=0.6), THREE, [0.7, 0.4, 1.1], None),
    ("ties", dict(density=0.6, majority_sign="frequency"), THREE, WEIGHTS, None),
    ("ties_svd", dict(density=0.6), THREE, WEIGHTS, None),
    ("ties_svd", dict(density=0.7, majority_sign="frequency"), THREE + ["long"], WEIGHTS + [0.5], None),
    ("magnitude_prune", dict(density=0.5), THREE, WEIGHTS, None),
    ("magnitude_prune_svd", dict(density=0.5), THREE, WEIGHTS, None),
    ("dare_linear", dict(density=0.6), THREE, WEIGHTS, None),
    ("dare_linear_svd", dict(density=0.6), THREE, WEIGHTS, None),
    ("dare_ties", dict(density=0.6), THREE, WEIGHTS, None),
    ("dare_ties_svd", dict(density=0.6), THREE, WEIGHTS, None),
    ("linear", {}, ["one", "two"], [0.7, -0.4], "turned"),
    ("dare_ties", dict(density=0.6), ["one", "two"], [0.7, 0.4], "turned"),
    ("dare_ties_svd", dict(density=0.6), ["one", "two"], [0.7, 0.4], "turned"),
]


def save_adapter(folder, base, options, seed):
    model = get_peft_model(base, LoraConfig(**options))
    for i, (_, parameter) in enumerate(
            sorted((n, p) for n, p in model.named_parameters() if "lora_" in n)):
        parameter.data = tensor(100 * seed + i, parameter.shape)
    model.save_pretrained(folder)


class Draws:
    """Stands in for torch.bernoulli: says what is drawn for, module by module as add_weighted_adapter does."""

    def __init__(self, names):
        self.names = names
        self.purposes = iter(())

    def begin(self, tuner, target, svd):
        module = next(name for name, other in tuner.model.named_modules() if other is target)
        adapters = [name for name in self.names if name in target.scaling]
        endings = [""] if svd else ["/A", "/B"]
        self.purposes = iter([f"peft/{name}/{module}.weight{ending}"
                              for ending in endings for name in adapters])

    def __call__(self, probability):
        key = derive_key(SEED, next(self.purposes))
        numbers = torch.tensor([unit_number(key, 0, e) for e in range(probability.numel())])
        return (numbers.view(probability.shape) < probability).to(probability.dtype)


def combined(kind, options, adapters, weights, turned, folder):
    model = None
    configs = TURNED if turned else ADAPTERS
    for name in adapters:
        path = os.path.join(folder, ("turned-" if turned else "") + name)
        if not os.path.isdir(path):
            save_adapter(path, Turned() if turned else Base(), *configs[name])
        if model is None:
            model = PeftModel.from_pretrained(Turned() if turned else Base(), path, name)
        else:
            model.load_adapter(path, name)
    tuner = model.base_model
    draws = Draws(adapters)
    whole, factors = (tuner._svd_generalized_task_arithmetic_weighted_adapter,
                      tuner._generalized_task_arithmetic_weighted_adapter)

    def of_updates(kind, names, values, rank, target, *rest, **more):
        draws.begin(tuner, target, True)
        return whole(kind, names, values, rank, target, *rest, **more)

    def of_factors(kind, names, values, target, *rest):
        draws.begin(tuner, target, False)
        return factors(kind, names, values, target, *rest)

    tuner._svd_generalized_task_arithmetic_weighted_adapter = of_updates
    tuner._generalized_task_arithmetic_weighted_adapter = of_factors
    bernoulli, torch.bernoulli = torch.bernoulli, draws
    try:
        model.add_weighted_adapter(adapters, weights, "merged", kind, svd_rank=options.get("rank"),
                                   density=options.get("density"),
                                   majority_sign_method=options.get("majority_sign", "total"))
    finally:
        torch.bernoulli = bernoulli
    updates = {}
    for name, module in tuner.model.named_modules():
        if hasattr(module, "scaling") and "merged" in module.scaling:
            if "merged" in module.lora_A:
                a, b = module.lora_A["merged"].weight, module.lora_B["merged"].weight
            else:
                a, b = module.lora_embedding_A["merged"], module.lora_embedding_B["merged"]
            update = module.scaling["merged"] * (b.data.double() @ a.data.double())
            updates[name] = [round(x, DIGITS) for x in update.flatten().tolist()]
    return updates


IA3 = dict(target_modules=["q", "up"], feedforward_modules=["up"])


def ia3_sum(folder):
    model = None
    for seed, name in enumerate(["one", "two"], start=7):
        made = get_peft_model(Base(), IA3Config(**IA3))
        for i, (_, parameter) in enumerate(
                sorted((n, p) for n, p in made.named_parameters() if "ia3_" in n)):
            parameter.data = 1 + tensor(100 * seed + i, parameter.shape) / 2
        path = os.path.join(folder, "ia3-" + name)
        made.save_pretrained(path)
        if model is None:
            model = PeftModel.from_pretrained(Base(), path, name)
        else:
            model.load_adapter(path, name)
    model.add_weighted_adapter(["one", "two"], [0.7, 0.4], "merged")
    return {name: [round(x, DIGITS) for x in module.ia3_l["merged"].data.flatten().tolist()]
            for name, module in model.base_model.model.named_modules() if hasattr(module, "ia3_l")}


class WithBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.Linear(WIDTH, WIDTH)
        self.up = nn.Linear(WIDTH, HIDDEN)


class WithConv1D(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_fc = Conv1D(HIDDEN, WIDTH)
        self.c_proj = Conv1D(WIDTH, HIDDEN)


def ia3_model(base, options, seed):
    """The parameters of merge_and_unload()."""
    for i, (_, parameter) in enumerate(sorted(base.named_parameters())):
        parameter.data = tensor(100 * seed + i, parameter.shape)
    model = get_peft_model(base, IA3Config(**options))
    for i, (_, parameter) in enumerate(
            sorted((n, p) for n, p in model.named_parameters() if "ia3_" in n)):
        parameter.data = 1 + tensor(100 * seed + 50 + i, parameter.shape) / 2
    return {name: [round(x, DIGITS) for x in parameter.data.flatten().tolist()]
            for name, parameter in model.merge_and_unload().named_parameters()}


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder = tempfile.mkdtemp()
    try:
        cases = [dict(type=kind, options=options, adapters=adapters, weights=weights,
                      turned=turned is not None,
                      updates=combined(kind, options, adapters, weights, turned, folder))
                 for kind, options, adapters, weights, turned in CASES]
        ia3 = dict(weights=[0.7, 0.4], vectors=ia3_sum(folder), model=ia3_model(WithBias(), IA3, 9),
                   turned=ia3_model(WithConv1D(), dict(
                       target_modules=["c_fc", "c_proj"], feedforward_modules=["c_proj"],
                       fan_in_fan_out=True), 10))
    finally:
        shutil.rmtree(folder)
    with open(OUT, "w") as file:
        lines = ",\n".join(json.dumps(case) for case in cases)
        file.write(f'{{"package": "peft 0.21.0", "seed": {SEED},\n"cases": [\n{lines}\n],\n'
                   f'"ia3": {json.dumps(ia3)}}}\n')


if __name__ == "__main__":
    main()
