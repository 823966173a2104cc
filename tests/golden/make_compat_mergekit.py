"""Bytes that `fusegrid merge --precision compat` must write, made by mergekit 0.1.5.

Run: python make_compat_mergekit.py [OUTPUT_FOLDER]   (default: compat/ beside this file)

One file per case, with the merged tensors for each dtype of the models: <dtype>/<tensor>. The
metadata holds the call of fusegrid, the models and how many experts it takes, the seed, and what
is left out. The inputs, rounded to the dtype, are those of zoo.py or, for more experts and
tensors of uneven sizes, of make_uneven(), which are written to <OUTPUT_FOLDER>_uneven.safetensors.
It also says what the processor's sums and, where a method needs them, its functions gave: bytes
are mergekit's only where these are the same. See digest_of().

Two things that mergekit leaves open are fixed while it runs, by the rules of fusegrid:
- which of equal magnitudes is kept (mergekit sorts unstably): positions decide, see stable();
- random masks come from the numbers that fusegrid draws (philox.h), see Draws.
"""

import contextlib
import hashlib
import os
import sys

import torch

from mergekit import merge_methods
from mergekit.merge_methods.api import merge_state_dicts

import zoo
from golden_io import save_golden
from random_numbers import derive_key, philox, unit_number

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "compat")
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
WEIGHTS = [0.5, 0.3, 0.2, 0.4]
LIST = ":".join(str(w) for w in WEIGHTS)
SEED = 3
UNCHANGED = "vision_model.post_layernorm.bias"

# PyTorch adds up 32 neighbouring entries of a tensor side by side, and the rest in another order.
UNEVEN = {"one": (1,), "seven": (7,), "block.bias": (37,), "block.weight": (3, 71),
          "folded": (2, 5, 9), "wide": (4, 45)}


def make_uneven():
    generator = torch.Generator().manual_seed(7)

    def noise(shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    # a softmax of the rows of "wide" underflows in float16
    base = {name: (noise(shape) * (12 if name == "wide" else 0.3)).float()
            for name, shape in UNEVEN.items()}
    experts = [{name: (value.double() + 0.05 * noise(value.shape)).float()
                for name, value in base.items()} for _ in range(8)]
    return base, experts


# --- fusegrid's random numbers -----------------------------------------------------------


def drop_number(key, e):
    """drop_rule.h: 8 bits of stream 0, then 32 of stream 1."""
    byte = philox(key, 0, e // 16)[e % 16 // 4] >> 8 * (e % 4) & 0xFF
    return (byte << 32 | philox(key, 1, e // 4)[e % 4]) / 2**40


class Draws:
    """Stands in for torch.bernoulli. mergekit goes through tensors, then through experts."""

    def __init__(self, purpose, experts, shapes, drop_rates=None):
        begins, total = {}, 0
        for name in sorted(shapes):  # fusegrid numbers the elements of the sorted tensors
            begins[name] = total
            total += torch.Size(shapes[name]).numel()
        keys = [derive_key(SEED, f"{purpose}/expert{i}") for i in range(experts)]
        number = (lambda key, e: unit_number(key, 0, e)) if drop_rates is None else drop_number
        self.numbers = iter([
            (torch.tensor([number(key, begins[name] + i)
                           for i in range(torch.Size(shape).numel())], dtype=torch.float64), rate)
            for name, shape in shapes.items()
            for key, rate in zip(keys, drop_rates or [None] * experts)])

    def __call__(self, probability):
        random, rate = next(self.numbers)
        random = random.view(probability.shape)
        kept = random < probability.float() if rate is None else random >= rate
        return kept.to(probability.dtype)


# --- stable choices ------------------------------------------------------------------------


@contextlib.contextmanager
def stable(draws):
    originals = {name: getattr(torch, name) for name in ("argsort", "sort", "topk", "bernoulli")}

    def argsort(values, dim=-1, descending=False):
        return originals["argsort"](values, dim=dim, descending=descending, stable=True)

    def sort(values, descending=False):
        """Ascending; of equal entries the first is the larger."""
        assert not descending and values.dim() == 1
        ranked = originals["sort"](values.flip(0), stable=True)
        return torch.return_types.sort((ranked.values, values.numel() - 1 - ranked.indices))

    def topk(values, k, largest=True):
        assert largest
        ranked = originals["sort"](values, descending=True, stable=True)
        return torch.return_types.topk((ranked.values[:k], ranked.indices[:k]))

    torch.argsort, torch.sort, torch.topk = argsort, sort, topk
    if draws:
        torch.bernoulli = draws
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(torch, name, original)


# --- the processor --------------------------------------------------------------------


# Angles, and the divergence of distributions.
OF_FUNCTIONS = {"arcee_fusion", "karcher", "multislerp", "nuslerp", "slerp"}


def sums(dtype):
    """Sums, norms and products that are added at once: their order, and with it their last bits,
    depends on the processor and on sizes."""
    for models in (2, 4, 5, 8):
        for size in [*range(1, 41), 45, 90, 213, 384]:
            numbers = (torch.arange(models * size) * 7919 % 2003 - 1001) / 1000
            values = numbers.view(models, size).to(dtype)
            yield values.sum(0)
            yield values.sum(1)
            yield values.norm(dim=1)
            total = torch.zeros(size)
            for row in values:
                total.addcmul_(row, row[:1].float())
            yield total


def functions(dtype):
    numbers = ((torch.arange(2001) - 1000) / 1000).to(dtype)
    yield numbers.acos()
    yield numbers.sin()
    yield numbers.cos()
    yield (numbers + 2).log()
    yield numbers.view(3, 667).softmax(1)


def digest_of(results):
    """Of their bits, for every dtype."""
    digest = hashlib.sha256()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for values in results(dtype):
            digest.update(values.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# --- cases -----------------------------------------------------------------------------------


def per_expert(values):
    return {f"expert{i}": value for i, value in enumerate(values)}


def case(name, call, registered, experts=4, base=True, draws=None, left_out=None,
         models="zoo", **parameters):
    return dict(name=name, call=call, registered=registered, experts=experts, base=base,
                draws=draws, left_out=left_out, models=models, parameters=parameters)


def cases():
    weight = dict(weight=per_expert(WEIGHTS))
    ones = dict(weight=per_expert([1.0] * 4))
    pair = dict(weight=per_expert([0.7, 0.3]))
    yield case("weighted_average", f"weighted_average{{weights={LIST}}}", "linear",
               base=False, normalize=True, **weight)
    yield case("weighted_average_raw",
               f"weighted_average{{weights={LIST},normalize=false}}", "linear", base=False,
               normalize=False, **weight)
    yield case("simple_average", "simple_average", "linear", base=False, **ones)
    yield case("task_arithmetic", f"task_arithmetic{{scale=0.7,weights={LIST}}}",
               "task_arithmetic", **{"lambda": 0.7}, **weight)
    yield case("ties_mean",
               f"ties{{dialect=mergekit,density=0.5,scale=1,merge=mean,weights={LIST}}}",
               "ties", normalize=True, density=0.5, **weight)
    yield case("ties_sum",
               "ties{dialect=mergekit,density=0.2,scale=0.7,merge=sum,weights=0.5:-0.3:0.2:0.4}",
               "ties", normalize=False, density=0.2, **{"lambda": 0.7},
               weight=per_expert([0.5, -0.3, 0.2, 0.4]))
    for merge in ("sum", "mean"):
        for rescale in ("l1", "none"):
            options = dict(density=0.4, rescale=rescale == "l1", normalize=merge == "mean")
            yield case(f"dare_{merge}_{rescale}",
                       f"dare{{drop_rate=0.6,scale=0.7,rescale={rescale},merge={merge}}}",
                       "dare_linear", draws=("dare", [0.6] * 4), **options, **ones,
                       **{"lambda": 0.7})
        yield case(f"dare_ties_{merge}",
                   "dare_ties{drop_rate=0.6,density=1,scale=0.7,rescale=l1,"
                   f"merge={merge},weights={LIST}}}", "dare_ties", draws=("dare", [0.6] * 4),
                   density=0.4, rescale=True, normalize=merge == "mean", **weight,
                   **{"lambda": 0.7})
    yield case("breadcrumbs",
               f"breadcrumbs{{density=0.6,gamma=0.1,scale=1,weights={LIST}}}", "breadcrumbs",
               density=0.6, gamma=0.1, **weight)
    yield case("breadcrumbs_ties",
               "breadcrumbs{density=0.6,gamma=0.1,elect=true,merge=mean,rescale=l1,scale=0.7,"
               f"weights={LIST}}}", "breadcrumbs_ties", density=0.6, gamma=0.1,
               normalize=True, rescale=True, **weight, **{"lambda": 0.7})
    for elect in (True, False):
        merge = "mean" if elect else "sum"
        yield case("della_ties" if elect else "della_linear",
                   f"della{{density=0.5,epsilon=0.15,elect={str(elect).lower()},"
                   f"merge={merge},rescale=l1,scale=0.7,weights={LIST}}}",
                   "della" if elect else "della_linear", draws=("della", None), density=0.5,
                   epsilon=0.15, rescale=True, normalize=elect, **weight, **{"lambda": 0.7})
    for t in (0.3, 0.5):
        yield case(f"slerp_{t}", f"slerp{{t={t}}}", "slerp", experts=2, base=False, t=t)
    for unit, options in (("tensor", dict(nuslerp_flatten=True)),
                          ("rows", dict(nuslerp_flatten=False)),
                          ("columns", dict(nuslerp_flatten=False, nuslerp_row_wise=True))):
        yield case(f"nuslerp_{unit}", f"nuslerp{{t=0.3,unit={unit}}}", "nuslerp", experts=2,
                   **pair, **options)
    yield case("nuslerp_weights", "nuslerp{t=0.3,arc=weights}", "nuslerp", experts=2,
               base=False, nuslerp_flatten=True, **pair)
    # more than two models and a tensor that nobody changed: an error in mergekit
    yield case("multislerp", f"multislerp{{weights={LIST}}}", "multislerp",
               left_out=UNCHANGED, **weight)
    yield case("multislerp_zero", f"multislerp{{weights={LIST},normalize=false,around=zero}}",
               "multislerp", base=False, normalize_weights=False, **weight)
    yield case("karcher", "karcher", "karcher", base=False, max_iter=10, tol=1e-5)
    yield case("model_stock", "model_stock", "model_stock")
    yield case("model_stock_filters", "model_stock{unit=filters}", "model_stock",
               filter_wise=True)
    yield case("sce", "sce{density=0.5}", "sce", select_topk=0.5)
    yield case("sce_all", "sce{density=1}", "sce", select_topk=1.0)
    yield case("nearswap", "nearswap{t=0.01}", "nearswap", experts=1, t=0.01)
    yield case("arcee_fusion", "arcee_fusion", "arcee_fusion", experts=1)
    yield case("arcee_fusion_underflow", "arcee_fusion", "arcee_fusion", experts=1,
               models="uneven")
    densities = [0.3, 0.9, 1.0, 0.5]
    each = dict(density=per_expert(densities))
    yield case("ties_densities", f"ties{{dialect=mergekit,density={joined(densities)},scale=1,"
               f"merge=mean,weights={LIST}}}", "ties", normalize=True, **each, **weight)
    gammas = [0.05, 0.1, 0.01, 0.2]
    yield case("breadcrumbs_densities", f"breadcrumbs{{density={joined(densities)},"
               f"gamma={joined(gammas)},scale=1,weights={LIST}}}", "breadcrumbs", **each,
               gamma=per_expert(gammas), **weight)
    rates = [0.7, 0.1, 0.25, 0.5]
    yield case("dare_weights", f"dare{{drop_rate={joined(rates)},scale=0.7,rescale=l1,merge=mean,"
               f"weights={LIST}}}", "dare_linear", draws=("dare", rates), rescale=True,
               normalize=True, density=per_expert([1 - rate for rate in rates]), **weight,
               **{"lambda": 0.7})
    densities, epsilons = [0.3, 0.6, 0.5, 0.8], [0.1, 0.2, 0.15, 0.05]
    yield case("della_densities", f"della{{density={joined(densities)},epsilon={joined(epsilons)},"
               f"elect=true,merge=mean,rescale=l1,scale=1,weights={LIST}}}", "della",
               draws=("della", None), density=per_expert(densities),
               epsilon=per_expert(epsilons), rescale=True, normalize=True, **weight)
    for experts in (5, 6, 7, 8):
        yield from many(experts)


def joined(numbers):
    return ":".join(str(number) for number in numbers)


def many(experts):
    """More models than PyTorch adds up in one order: see UNEVEN."""
    weights = [0.5, 0.3, 0.2, 0.4, 0.7, 0.1, 0.6, 0.9][:experts]
    weight = dict(weight=per_expert(weights))
    listed = f"weights={joined(weights)}"

    def of_many(name, call, registered, **rest):
        return case(f"{name}_of_{experts}", call, registered, experts=experts, models="uneven",
                    **rest)

    yield of_many("task_arithmetic", f"task_arithmetic{{scale=0.7,{listed}}}",
                  "task_arithmetic", **{"lambda": 0.7}, **weight)
    yield of_many("ties", f"ties{{dialect=mergekit,density=0.6,scale=1,merge=mean,{listed}}}",
                  "ties", normalize=True, density=0.6, **weight)
    yield of_many("dare", f"dare{{drop_rate=0.3,scale=1,rescale=l1,merge=mean,{listed}}}",
                  "dare_linear", draws=("dare", [0.3] * experts), density=0.7, rescale=True,
                  normalize=True, **weight)
    yield of_many("breadcrumbs", "breadcrumbs{density=0.6,gamma=0.1,elect=true,merge=mean,scale=1,"
                  f"{listed}}}", "breadcrumbs_ties", density=0.6, gamma=0.1, normalize=True,
                  **weight)
    yield of_many("sce", "sce{density=0.5}", "sce", select_topk=0.5)
    yield of_many("weighted_average", f"weighted_average{{{listed}}}", "linear", base=False,
                  normalize=True, **weight)
    yield of_many("model_stock", "model_stock", "model_stock")
    # of one number the angle is 0 / 0 in float16, whose sign is the processor's
    yield of_many("multislerp", f"multislerp{{{listed}}}", "multislerp", left_out="one", **weight)
    yield of_many("karcher", "karcher", "karcher", base=False, max_iter=10, tol=1e-5)


def merge(what, dtype, base, experts):
    def cast(model):
        return {name: value.to(DTYPES[dtype]) for name, value in model.items()
                if name != what["left_out"]}

    models = {f"expert{i}": cast(e) for i, e in enumerate(experts[:what["experts"]])}
    base_id = None
    if what["base"]:
        models, base_id = {"base": cast(base), **models}, "base"
    elif what["registered"] == "slerp":
        base_id = "expert0"
    shapes = {name: tuple(value.shape) for name, value in base.items()}
    draws = what["draws"] and Draws(what["draws"][0], what["experts"], shapes, what["draws"][1])
    with stable(draws):
        merged = merge_state_dicts(models, merge_methods.get(what["registered"]), base=base_id,
                                   parameters=what["parameters"])
    # arcee_fusion returns float32 whatever it is given; a checkpoint has its own dtype
    return {f"{dtype}/{name}": value.to(DTYPES[dtype]) for name, value in merged.items()}


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    models = {"zoo": zoo.make_zoo(), "uneven": make_uneven()}
    base, experts = models["uneven"]
    inputs = {f"base/{name}": value for name, value in base.items()}
    for i, expert in enumerate(experts):
        inputs.update({f"expert{i}/{name}": value for name, value in expert.items()})
    save_golden(OUT.rstrip("/") + "_uneven.safetensors", inputs, {})
    for what in cases():
        base, experts = models[what["models"]]
        tensors = {}
        for dtype in DTYPES:
            tensors.update(merge(what, dtype, base, experts))
        processor = {"sums": digest_of(sums)}
        if what["registered"] in OF_FUNCTIONS:
            processor["functions"] = digest_of(functions)
        save_golden(os.path.join(OUT, what["name"] + ".safetensors"), tensors,
                    dict(call=what["call"], experts=what["experts"], models=what["models"], seed=SEED,
                         left_out=what["left_out"] or "", package="mergekit 0.1.5",
                         original=what["registered"], **processor))


if __name__ == "__main__":
    main()
