"""Golden values of the fusion methods, made by calling fusion-bench 0.2.33.

Run: python make_methods_fusionbench.py [OUTPUT_FOLDER]   (default: methods/ beside this file)

The default dtype of torch is set to float64, so that constants which the
originals create without a dtype (scales, coefficients, ratios) are float64 too.
Models are real `transformers` CLIPVisionModel objects in an in-memory
BaseModelPool; nothing of a method is written again here, except where a
function's name ends in `_by_definition`.
"""

import os
import random
import sys

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from fusion_bench import BaseModelPool
from fusion_bench.method.adamerging import entropy_loss as entropy_loss_module
from fusion_bench.method.adamerging.layer_wise_adamerging import (
    LayerWiseAdaMergingAlgorithm,
)
from fusion_bench.method.adamerging.task_wise_adamerging import (
    TaskWiseAdaMergingAlgorithm,
)
from fusion_bench.method.dare.simple_average import DareSimpleAverage
from fusion_bench.method.dare.task_arithmetic import DareTaskArithmetic
from fusion_bench.method.doge_ta.doge_ta import DOGE_TA_Algorithm
from fusion_bench.method.dop.dop import ContinualDOPForCLIP
from fusion_bench.method.emr_merging.emr_merging import EMRMerging
from fusion_bench.method.emr_merging.utils import emr_merge
from fusion_bench.method.fisher_merging import fisher_merging as fisher_module
from fusion_bench.method.isotropic_merging.iso import (
    IsotropicMergingInCommonAndTaskSubspace,
    IsotropicMergingInCommonSubspace,
)
from fusion_bench.method.knots.knots_utils import subspace_alignment
from fusion_bench.method.magmax.magmax import MagMaxAlgorithm
from fusion_bench.method.opcm.opcm import OPCMForCLIP
from fusion_bench.method.pruning.magnitude_diff_pruning import (
    MagnitudeDiffPruningAlgorithm,
)
from fusion_bench.method.pruning.prune_utils import unstructured_magnitude_prune_
from fusion_bench.method.dare.ties_merging import DareTiesMerging
from fusion_bench.method.linear.expo import ExPOAlgorithm
from fusion_bench.method.linear.linear_interpolation import LinearInterpolationAlgorithm
from fusion_bench.method.model_stock.model_stock import ModelStock
from fusion_bench.method.randes.task_arithmetic import SuperposedTaskArithmeticAlgorithm
from fusion_bench.method.regmean import regmean as regmean_module
from fusion_bench.method.simple_average import SimpleAverageAlgorithm
from fusion_bench.method.singular_value_calibration.svc import SingularValueCalibration
from fusion_bench.method.slerp.slerp import SlerpMergeAlgorithm
from fusion_bench.method.smile_upscaling.smile_upscaling import SmileUpscalingAlgorithm
from fusion_bench.method.tall_mask import task_arithmetic as tall_mask_module
from fusion_bench.method.tall_mask import utils as tall_mask_utils
from fusion_bench.method.task_arithmetic.task_arithmetic import (
    TaskArithmeticAlgorithm,
)
from fusion_bench.method.task_singular_vector.TSVM import TaskSingularVectorMerging
from fusion_bench.method.task_singular_vector.utils.TSVC_utils import compress_tv
from fusion_bench.method.ties_merging import ties_merging_utils
from fusion_bench.method.ties_merging.ties_merging import TiesMergingAlgorithm
from fusion_bench.method.weighted_average.weighted_average import (
    WeightedAverageAlgorithm,
)
from fusion_bench.method.wudi.wudi import wudi_merging
from fusion_bench.models.rankone_moe import RankOneMoE
from fusion_bench.models.we_moe import WeightEnsemblingMoE
from fusion_bench.models.wrappers.ensemble import (
    EnsembleModule,
    MaxModelPredictor,
    WeightedEnsembleModule,
)
from fusion_bench.models.wrappers.layer_wise_fusion import LayerWiseMergedModel
from fusion_bench.models.wrappers.task_wise_fusion import TaskWiseMergedModel
from fusion_bench.utils.state_dict_arithmetic import state_dict_sub, state_dict_sum

import zoo
from golden_io import canonical, save_golden

PACKAGE = "fusion-bench 0.2.33"
HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "methods")
MLP = "vision_model.encoder.layers.0.mlp."


def rand(generator, *shape, scale=1.0):
    """Normal float64 numbers that are exact in float32."""
    return (scale * torch.randn(shape, generator=generator)).float().double()


def save(method, case, tensors, options, original, package=PACKAGE, **extra):
    dtypes = sorted({str(t.dtype).replace("torch.", "") for t in tensors.values()})
    metadata = dict(
        method=method,
        options=canonical(options),
        original=original,
        package=package,
        dtype=";".join(dtypes),
        **extra,
    )
    save_golden(os.path.join(OUT, f"{method}__{case}.safetensors"), tensors, metadata)


def vision_model(weights):
    model = CLIPVisionModel(CLIPVisionConfig(**zoo.CONFIG)).double()
    model.load_state_dict(weights)
    return model


def pool(base, experts):
    models = {"_pretrained_": vision_model(base)}
    for index, expert in enumerate(experts):
        models[f"expert{index}"] = vision_model(expert)
    return BaseModelPool(models)


def state(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


# --- weights only -----------------------------------------------------------


def make_averages(base, experts):
    merged = SimpleAverageAlgorithm().run(pool(base, experts))
    save("simple_average", "default", state(merged), {},
         "fusion_bench.method.simple_average.SimpleAverageAlgorithm.run")
    weights = [0.1, 0.2, 0.3, 0.6]
    for normalize in (True, False):
        merged = WeightedAverageAlgorithm(
            normalize=normalize, weights=weights, verbose=False
        ).run(pool(base, experts))
        save("weighted_average", "normalized" if normalize else "raw", state(merged),
             dict(normalize=normalize, weights=weights),
             "fusion_bench.method.weighted_average.weighted_average."
             "WeightedAverageAlgorithm.run")


def make_task_arithmetic(base, experts):
    merged = TaskArithmeticAlgorithm(scaling_factor=0.3).run(pool(base, experts))
    save("task_arithmetic", "scale03", state(merged), dict(scale=0.3),
         "fusion_bench.method.task_arithmetic.TaskArithmeticAlgorithm.run")
    merged = TaskArithmeticAlgorithm(scaling_factor=-0.5).run(pool(base, experts[:1]))
    save("task_arithmetic", "negation", state(merged), dict(scale=-0.5, experts=1),
         "fusion_bench.method.task_arithmetic.TaskArithmeticAlgorithm.run")


def make_ties(base, experts):
    for percent in (20, 50):
        for merge in ("sum", "mean", "max"):
            merged = TiesMergingAlgorithm(
                scaling_factor=0.3, threshold=percent, remove_keys=[], merge_func=merge
            ).run(pool(base, experts))
            taus = torch.vstack([
                ties_merging_utils.state_dict_to_vector(state_dict_sub(e, base))
                for e in experts
            ])
            kept = ties_merging_utils.topk_values_mask(taus, K=percent, return_mask=True)
            counts = kept[2].sum(dim=1).tolist()
            save("ties", f"fusionbench_density{percent / 100}_{merge}".replace(".", ""),
                 state(merged),
                 dict(density=percent / 100, merge=merge, scale=0.3),
                 "fusion_bench.method.ties_merging.TiesMergingAlgorithm.run",
                 dialect="fusion-bench", kept=";".join(map(str, counts)))


class RecordedDraws:
    """Keeps what torch.rand_like returns, so that the drawn masks can be stored."""

    def __enter__(self):
        self._original, self.draws = torch.rand_like, []

        def recorded(*args, **kwargs):
            self.draws.append(self._original(*args, **kwargs))
            return self.draws[-1]

        torch.rand_like = recorded
        return self

    def __exit__(self, *_):
        torch.rand_like = self._original


def make_dare(base, experts):
    for sparsity, rescale, scale in ((0.5, True, 0.3), (0.9, True, 1.0), (0.5, False, 0.3)):
        torch.manual_seed(7)
        with RecordedDraws() as recorded:
            merged = DareTaskArithmetic(
                scaling_factor=scale, sparsity_ratio=sparsity,
                only_on_linear_weights=False, rescale=rescale,
            ).run(pool(base, experts))
        names = [name for name, _ in vision_model(base).named_parameters()]
        assert len(recorded.draws) == len(names) * len(experts)
        draws = iter(recorded.draws)
        tensors = state(merged)
        for index in range(len(experts)):
            for name in names:
                tensors[f"mask/expert{index}/{name}"] = next(draws) > sparsity
        case = f"fusionbench_drop{sparsity}_{'rescaled' if rescale else 'plain'}"
        save("dare_linear", case.replace(".", ""), tensors,
             dict(drop=sparsity, rescale=rescale, scale=scale),
             "fusion_bench.method.dare.task_arithmetic.DareTaskArithmetic.run",
             dialect="fusion-bench", rescaling="1/(1-drop)")


def make_slerp(base, experts):
    for case, first, second, t in (
        ("experts01_t05", "expert0", "expert1", 0.5),
        ("experts01_t03", "expert0", "expert1", 0.3),
        ("base_expert0_t03", "base", "expert0", 0.3),
    ):
        by_name = {"base": base, "expert0": experts[0], "expert1": experts[1]}
        models = BaseModelPool({
            "first": vision_model(by_name[first]), "second": vision_model(by_name[second])
        })
        merged = SlerpMergeAlgorithm(t=t).run(models)
        save("slerp", f"fusionbench_{case}", state(merged),
             dict(t=t, dot_threshold=0.9995, epsilon=1e-8),
             "fusion_bench.method.slerp.slerp.SlerpMergeAlgorithm.run",
             dialect="fusion-bench", first=first, second=second,
             lerp=";".join(collinear_names(by_name[first], by_name[second])))


def collinear_names(first, second):
    """Which tensors take the linear path; none may be close to the threshold."""
    names = []
    for name in sorted(first):
        a, b = first[name].reshape(-1), second[name].reshape(-1)
        norms = a.norm() * b.norm()
        cosine = (a @ b / norms).item() if norms > 1e-12 else 0.0
        assert abs(abs(cosine) - 0.9995) > 1e-6, (name, cosine)
        if abs(cosine) > 0.9995:
            names.append(name)
    return names


# --- EMR --------------------------------------------------------------------


def emr_by_definition(base, experts):
    """EMR as published: per-task ratio of L1 norms over the whole vector.

    Independent numpy computation, for variant B which fusion-bench lacks. The
    elected sign of a zero sum is -1, as in the original code.
    """
    names = sorted(base)
    taus = np.stack([
        np.concatenate([(e[n] - base[n]).numpy().ravel() for n in names]) for e in experts
    ])
    sign = np.where(taus.sum(axis=0) > 0, 1.0, -1.0)
    agree = taus * sign > 0
    unified = sign * np.where(agree, np.abs(taus), 0.0).max(axis=0)
    norms = np.abs(taus).sum(axis=1)
    rescalers = norms / np.array([np.abs(unified[m]).sum() for m in agree])
    return names, unified, agree, rescalers


def split(vector, names, like):
    result, offset = {}, 0
    for name in names:
        size = like[name].numel()
        piece = torch.from_numpy(np.ascontiguousarray(vector[offset:offset + size]))
        result[name] = piece.reshape(like[name].shape)
        offset += size
    return result


def make_emr(base, experts):
    unified, masks, rescalers = emr_merge([state_dict_sub(e, base) for e in experts])
    tensors = {f"unified/{name}": value for name, value in unified.items()}
    tensors["rescalers"] = rescalers
    for name, per_task in masks.items():
        for index, mask in enumerate(per_task):
            tensors[f"mask/expert{index}/{name}"] = mask
    models = EMRMerging().run(pool(base, experts))
    for index in range(len(experts)):
        models.set_task(f"expert{index}")
        for name, value in state(models.backbone).items():
            tensors[f"expert{index}/{name}"] = value
    save("emr", "variant_a", tensors, dict(rescaler="tensor_means"),
         "fusion_bench.method.emr_merging.utils.emr_merge + EMRMerging.run")

    names, vector, agree, ratios = emr_by_definition(base, experts)
    tensors = {"rescalers": torch.from_numpy(ratios)}
    for name, value in split(vector, names, base).items():
        assert torch.equal(value, unified[name] + 0.0), name
    delta = split(vector * agree[0] * ratios[0], names, base)
    for name in names:  # one expert is enough: masks and vector are variant A's
        tensors[f"expert0/{name}"] = base[name] + delta[name]
    save("emr", "variant_b", tensors, dict(rescaler="l1_ratio"),
         "emr_by_definition (independent numpy computation of Algorithm 1)",
         package="numpy " + np.__version__)


# --- spectral methods and MagMax ---------------------------------------------


def make_others(base, experts):
    for method, algorithm, options in (
        ("magmax", MagMaxAlgorithm(scaling_factor=0.5), dict(scale=0.5)),
        ("iso_c", IsotropicMergingInCommonSubspace(scaling_factor=1.5), dict(scale=1.5)),
        ("tsv_m", TaskSingularVectorMerging(alpha=0.8), dict(scale=0.8)),
    ):
        algorithm._fabric_instance = PlainFabric()
        merged = algorithm.run(pool(base, experts))
        save(method, "default", state(merged), options,
             f"{type(algorithm).__module__}.{type(algorithm).__name__}.run")


# --- lines, masks and sparse task vectors -------------------------------------


class Names(list):
    """The original compares the list of names with the number 2; this one agrees."""

    def __eq__(self, other):
        return len(self) == other if isinstance(other, int) else super().__eq__(other)

    __hash__ = None


class CountedNamesPool(BaseModelPool):
    @property
    def all_model_names(self):
        return Names(super().all_model_names)


def make_lines(base, experts):
    for method, case, first, second, t in (
        ("linear_interpolation", "t03", experts[0], experts[1], 0.3),
        ("wise_ft", "alpha04", base, experts[0], 0.4),
    ):
        models = CountedNamesPool({"a": vision_model(first), "b": vision_model(second)})
        merged = LinearInterpolationAlgorithm(t=t).run(models)
        save(method, case, state(merged), dict(t=t),
             "fusion_bench.method.linear.linear_interpolation."
             "LinearInterpolationAlgorithm.run")
    for case, count, alpha in (("one", 1, 0.3), ("four", 4, 0.1)):
        merged = ExPOAlgorithm(extrapolation_factor=alpha).run(pool(base, experts[:count]))
        save("expo", case, state(merged), dict(alpha=alpha, experts=count),
             "fusion_bench.method.linear.expo.ExPOAlgorithm.run")
    for case, count in (("two", 2), ("four", 4)):
        merged = ModelStock().run(pool(base, experts[:count]))
        save("model_stock", f"fusionbench_{case}", state(merged), dict(experts=count),
             "fusion_bench.method.model_stock.ModelStock.run",
             angles="float32, whatever the models are")


def make_dare_others(base, experts):
    names = [name for name, _ in vision_model(base).named_parameters()]
    for method, algorithm, options in (
        ("dare_ties",
         DareTiesMerging(sparsity_ratio=0.5, only_on_linear_weights=False, rescale=True,
                         scaling_factor=0.5, threshold=20, remove_keys=[],
                         merge_func="sum"),
         dict(drop=0.5, density=0.2, merge="sum", scale=0.5)),
        ("dare_linear",
         DareSimpleAverage(sparsity_ratio=0.5, only_on_linear_weights=False,
                           rescale=True),
         dict(drop=0.5, merge="mean", scale=1.0)),
    ):
        torch.manual_seed(7)
        with RecordedDraws() as recorded:
            merged = algorithm.run(pool(base, experts))
        draws, tensors = iter(recorded.draws), state(merged)
        for index in range(len(experts)):
            for name in names:
                tensors[f"mask/expert{index}/{name}"] = next(draws) > 0.5
        case = "fusionbench_density02_sum" if method == "dare_ties" else "fusionbench_mean"
        save(method, case, tensors, options,
             f"{type(algorithm).__module__}.{type(algorithm).__name__}.run",
             dialect="fusion-bench", rescaling="1/(1-drop)")


def flat(model):
    return torch.cat([model[name].reshape(-1) for name in sorted(model)])


def unflat(vector, like):
    return split(vector.numpy(), sorted(like), like)


def make_tall_masks(base, experts):
    """FusionBench's rule with its error, and its own helper, which has the rule right.

    The algorithm class itself cannot run (0.2.33 refuses to subtract Parameters from
    Tensors), so its mask function is called with what the class passes.
    """
    deltas = [state_dict_sub(expert, base) for expert in experts]
    total = state_dict_sum(deltas)
    tensors = {}
    for index, delta in enumerate(deltas):
        mask = tall_mask_module.generate_task_masks(total, delta, base, tall_mask_lambda=0.4)
        for name, value in base.items():
            tensors[f"expert{index}/{name}"] = value + mask[name] * total[name]
    save("tall_mask", "fusionbench", tensors, {"lambda": 0.4},
         "fusion_bench.method.tall_mask.task_arithmetic.generate_task_masks",
         error="compares with |theta_0 - tau_i| instead of |tau_i|")
    theta_0 = flat(base)
    thetas = torch.vstack([flat(expert) for expert in experts])
    taus = thetas - theta_0
    for vector in ("sum", "ties"):
        merged = taus.sum(dim=0) if vector == "sum" else ties_merging_utils.ties_merging(
            taus, reset_thresh=20, merge_func="sum")
        masks = tall_mask_utils.generate_task_masks(
            taus, thetas, theta_0, tv=merged, tall_mask_lambda=0.4)
        tensors = {}
        for index in range(len(experts)):
            model = unflat(theta_0 + masks[index] * merged, base)
            tensors.update({f"expert{index}/{n}": value for n, value in model.items()})
        save("tall_mask", vector, tensors, {"lambda": 0.4, "vector": vector},
             "fusion_bench.method.tall_mask.utils.generate_task_masks")
        by_task = {f"expert{i}": unflat(mask.double(), base) for i, mask in enumerate(masks)}
        tall_mask_utils.load_tall_mask = lambda *_: by_task
        keep = tall_mask_utils.construct_consensus_mask(base, 2, None)
        merged = merged * keep  # in the order of the sorted names, as flat()
        save("consensus_ta", vector, unflat(theta_0 + 0.3 * merged, base),
             {"lambda": 0.4, "vector": vector, "min_tasks": 2, "scale": 0.3},
             "fusion_bench.method.tall_mask.utils.construct_consensus_mask "
             "(and generate_task_masks)")


def make_trimmed(base, experts):
    theta_0 = flat(base)
    taus = torch.vstack([flat(expert) for expert in experts]) - theta_0
    kept, _ = ties_merging_utils.topk_values_mask(taus.clone(), K=20, return_mask=False)
    save("trimmed_task_arithmetic", "model",
         unflat(theta_0 + 0.3 * kept.sum(dim=0), base), dict(density=0.2, scale=0.3),
         "fusion_bench.method.ties_merging.ties_merging_utils.topk_values_mask, then summed")


def pcb_by_definition(taus, density):
    """PCB-Merging in numpy, from the formulas in src/methods/pcb.cpp."""
    count, size = taus.shape

    def bounded(rows, low, high):
        ranked = np.sort(rows, axis=1)
        return np.clip(rows, ranked[:, [int(low)]], ranked[:, [int(high)]])

    def unit(rows):
        low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
        return (rows - low) / (high - low)

    sizes = bounded(np.abs(taus), size * 0.0001, size * (1 - 0.0001) - 1)
    scores = np.exp(count * unit(sizes) ** 2) * np.tanh(taus * taus.sum(axis=0))
    # ranked in float32, as the engine does
    scores = scores.astype(np.float32).astype(np.float64)
    weights = unit(bounded(scores, size * (1 - density), size - 1))
    total = np.maximum(weights.sum(axis=0), 1e-12)
    return (np.sign(taus) * sizes * weights).sum(axis=0) / total


def compeft_by_definition(taus, density, magnitude):
    size = taus.shape[1]
    merged = np.zeros(size)
    for tau in taus:
        threshold = np.sort(np.abs(tau))[size - int(size * density) - 1]
        kept = np.abs(tau) >= threshold
        step = tau.std(ddof=1) if magnitude == "std" else np.abs(tau[kept]).mean()
        merged += step * np.sign(tau) * kept
    return merged


def bitdelta_by_definition(base, expert):
    merged = {}
    for name, theta_0 in base.items():
        tau = (expert[name] - theta_0).numpy()
        signs = np.where(tau < 0, -1.0, 1.0)
        merged[name] = expert[name] if tau.ndim < 2 else torch.from_numpy(
            theta_0.numpy() + np.abs(tau).mean() * signs)
    return merged


def ram_plus_by_definition(taus, epsilon, r, alpha):
    changed = np.abs(taus) > epsilon
    count = changed.sum(axis=0)
    merged = np.zeros(taus.shape[1])
    for tau, own in zip(taus, changed):
        unique, shared = own & (count == 1), own & (count > 1)
        factor = 1 + r * min(alpha, shared.sum() / unique.sum())
        merged[unique] += factor * tau[unique]
        merged[shared] += tau[shared] / count[shared]
    return merged


def make_by_definition(base, experts):
    """Methods without an installable original: independent numpy computations."""
    theta_0 = flat(base)
    taus = (torch.vstack([flat(expert) for expert in experts]) - theta_0).numpy()
    for method, case, scale, merged, options in (
        ("pcb", "density01", 1.2, pcb_by_definition(taus, 0.1), dict(density=0.1)),
        ("pcb", "density06", 1.0, pcb_by_definition(taus, 0.6), dict(density=0.6)),
        ("compeft", "std", 1.0, compeft_by_definition(taus, 0.2, "std"), dict(density=0.2)),
        ("compeft", "mean", 0.5, compeft_by_definition(taus, 0.5, "mean"), dict(density=0.5)),
        ("ram", "plus_model", 1.0, ram_plus_by_definition(taus, 0.03, 0.3, 1.5),
         dict(epsilon=0.03, r=0.3, alpha=1.5)),
    ):
        save(method, case, unflat(theta_0 + scale * torch.from_numpy(merged), base),
             dict(scale=scale, **options), f"{method}_by_definition",
             package="numpy " + np.__version__)
    tensors = {}
    for index, expert in enumerate(experts):
        model = bitdelta_by_definition(base, expert)
        tensors.update({f"expert{index}/{name}": value for name, value in model.items()})
    save("bitdelta", "matrices", tensors, dict(tensors="matrices"), "bitdelta_by_definition",
         package="numpy " + np.__version__)


def lines_by_definition(taus, merged, blocks, beta, alpha=None):
    """LiNeS in numpy: name -> merged task vector scaled by depth. `blocks`: name -> (index, count)."""
    def norm(values):
        return np.sqrt(sum((value ** 2).sum() for value in values.values()))

    if alpha is None:
        summed = {name: sum(tau[name] for tau in taus) for name in merged}
        alpha = norm(summed) / norm(merged) / len(taus)
    scaled = {}
    for name, value in merged.items():
        index, count = blocks.get(name, (0, 2))
        scaled[name] = value * (alpha + beta * index / (count - 1))
    return scaled


def make_lines_scaling():
    """A stack of four blocks and tensors outside of it; TIES by fusion-bench."""
    generator = np.random.default_rng(2410_17146)
    shapes = {"embed.weight": (5, 3), "head.bias": (4,)}
    blocks = {}
    for index in range(4):
        for name, shape in (("fc1.weight", (4, 3)), ("fc1.bias", (4,))):
            key = f"encoder.layers.{index}.{name}"
            shapes[key], blocks[key] = shape, (index, 4)

    def model(spread):
        return {name: np.round(spread * generator.standard_normal(shape) * 2**20) / 2**20
                for name, shape in shapes.items()}

    base, taus = model(0.5), [model(0.1) for _ in range(3)]
    inputs = {f"base/{name}": torch.from_numpy(value) for name, value in base.items()}
    for index, tau in enumerate(taus):
        inputs.update({f"expert{index}/{name}": torch.from_numpy(base[name] + value)
                       for name, value in tau.items()})
    order = sorted(shapes)
    rows = torch.vstack([torch.cat([torch.from_numpy(tau[name]).flatten() for name in order])
                         for tau in taus])
    trimmed, _ = ties_merging_utils.topk_values_mask(rows.clone(), K=20, return_mask=False)
    elected = ties_merging_utils.disjoint_merge(
        trimmed, "dis-sum", ties_merging_utils.resolve_sign(trimmed)).numpy()
    vectors = {"ties": {}, "task_arithmetic": {name: sum(tau[name] for tau in taus) for name in order}}
    done = 0
    for name in order:
        count = int(np.prod(shapes[name]))
        vectors["ties"][name] = elected[done:done + count].reshape(shapes[name])
        done += count
    for method, alpha, beta in (("task_arithmetic", None, 0.5), ("ties", None, 0.5), ("ties", 0.2, 0.8)):
        scaled = lines_by_definition(taus, vectors[method], blocks, beta, alpha)
        tensors = {name: torch.from_numpy(base[name] + scaled[name]) for name in order}
        case = method + ("" if alpha is None else "_fixed")
        save("lines", case, {**inputs, **tensors},
             dict(base=method, beta=beta, **({} if alpha is None else dict(alpha=alpha))),
             "lines_by_definition of ties_merging_utils.{topk_values_mask,resolve_sign,disjoint_merge}"
             if method == "ties" else "lines_by_definition", package="numpy " + np.__version__)


def make_randes(base, experts):
    algorithm = SuperposedTaskArithmeticAlgorithm(
        scaling_factor=0.5, mode="random_binary_diagonal_matrix",
        target_layer=["mlp_w", "attn_w"], random_seed=42, different_across_layers=False,
        joint_matrix_mode="flatten_hstack", rank=1, random_components=False,
        shift_layers=0, absorber="None", debug=-1, ms_mode="average", verbose=0,
        dropout_rate=1)
    # run() itself cannot add these to a model's Parameters (as with the TALL masks)
    taus = {f"expert{i}": state_dict_sub(e, base) for i, e in enumerate(experts)}
    retrieved, metadata = algorithm._compress_and_retrieve(
        taus, mode="superposed_task_arithmetic")
    targets = metadata["target_layers"]
    tensors = {f"{task}/{name}": base[name] + 0.5 * value
               for task, tau in retrieved.items() for name, value in tau.items()}
    for index in range(len(experts)):
        for width in sorted({base[name].shape[-1] for name in targets}):
            np.random.seed(42 + index)
            flips = np.random.binomial(p=0.5, n=1, size=(1, width)) * 2.0 - 1
            tensors[f"flips/expert{index}/{width}"] = torch.from_numpy(flips[0])
    save("randes", "binary_diagonal", tensors, dict(scale=0.5),
         "fusion_bench.method.randes.SuperposedTaskArithmeticAlgorithm."
         "_compress_and_retrieve",
         targets=";".join(targets))


def make_randes_shuffle():
    """Five layers in a stack, a target outside of it, and tensors that are no targets."""
    generator = np.random.default_rng(2505_11204)
    shapes = {"embed.weight": (5, 3), "pooler.attn.weight": (4, 3), "head.bias": (4,)}
    for layer in range(5):
        for name, shape in (("mlp.fc1.weight", (6, 4)), ("mlp.fc1.bias", (6,)),
                            ("self_attn.q_proj.weight", (4, 3))):
            shapes[f"encoder.layers.{layer}.{name}"] = shape

    def model(spread):
        return {name: torch.from_numpy(np.round(spread * generator.standard_normal(shape) * 2**20) / 2**20)
                for name, shape in shapes.items()}

    base, taus = model(0.5), {f"expert{i}": model(0.1) for i in range(3)}
    for case, mode in (("shuffled", "identity_matrix"), ("flipped", "random_binary_diagonal_matrix")):
        algorithm = SuperposedTaskArithmeticAlgorithm(
            scaling_factor=0.5, mode=mode, target_layer=["mlp_w", "attn_w"], random_seed=42,
            different_across_layers=False, joint_matrix_mode="flatten_hstack", rank=1,
            random_components=False, shift_layers=-1, absorber="None", debug=-1,
            ms_mode="average", verbose=0, dropout_rate=1)
        retrieved, metadata = algorithm._compress_and_retrieve(
            {task: {name: value.clone() for name, value in tau.items()} for task, tau in taus.items()},
            mode="superposed_task_arithmetic")
        tensors = {f"base/{name}": value for name, value in base.items()}
        for index, (task, tau) in enumerate(taus.items()):
            for name, value in tau.items():
                tensors[f"{task}/{name}"] = base[name] + value
                tensors[f"retrieved/{task}/{name}"] = base[name] + 0.5 * retrieved[task][name]
            random.seed(42 + index)  # the original draws so for every group of layers
            places = list(range(5))
            random.shuffle(places)
            tensors[f"places/{task}"] = torch.tensor(places)
            for width in (3, 4):
                np.random.seed(42 + index)
                flips = np.random.binomial(p=0.5, n=1, size=(1, width)) * 2.0 - 1
                tensors[f"flips/{task}/{width}"] = torch.from_numpy(flips[0])
        save("randes_shuffle", case, tensors, dict(flip=case == "flipped", scale=0.5),
             "fusion_bench.method.randes.SuperposedTaskArithmeticAlgorithm."
             "_compress_and_retrieve, shift_layers=-1",
             targets=";".join(metadata["target_layers"]))


# --- statistics -------------------------------------------------------------


def make_fisher(base, experts):
    generator = torch.Generator().manual_seed(11)
    fishers = []
    for index in range(len(experts)):
        scale = 10.0 ** (-2 - index)  # very different norms, so normalising matters
        fishers.append({
            name: (scale * rand(generator, *value.shape) ** 2).float().double()
            for name, value in base.items()
        })
    # No information anywhere: the floor alone must turn this into an average.
    for fisher in fishers:
        fisher["vision_model.post_layernorm.weight"].zero_()
    save("inputs", "fisher",
         {f"expert{i}/{n}": v for i, f in enumerate(fishers) for n, v in f.items()}, {},
         "squared normal numbers, positive", package="torch " + torch.__version__)
    params = {name: [e[name] for e in experts] for name in base}
    equal = torch.ones(len(experts)) / len(experts)
    unequal = torch.tensor([0.4, 0.3, 0.2, 0.1])
    for case, coefficients, normalize in (
        ("normalized", equal, True), ("raw", equal, False), ("weighted", unequal, True),
    ):
        merged = fisher_module.merging_with_fisher_weights(
            models_to_merge_param_dict=params,
            models_to_merge_fisher_weights_list=fishers,
            fisher_scaling_coefficients=coefficients,
            normalize_fisher_weight=normalize,
            minimal_fisher_weight=1e-6,
        )
        tensors = dict(merged)
        tensors["fisher_norms"] = fisher_module.get_models_fisher_norm(params, fishers)
        save("fisher", case, tensors,
             dict(normalize=normalize, floor=1e-6, weights=coefficients.tolist()),
             "fusion_bench.method.fisher_merging.fisher_merging."
             "merging_with_fisher_weights (and get_models_fisher_norm)",
             statistics="inputs__fisher")


def linear_modules(model):
    return [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]


def make_regmean(base, experts):
    generator = torch.Generator().manual_seed(13)
    modules = linear_modules(vision_model(base))
    grams = []
    for _ in experts:
        gram = {}
        for module in modules:
            width = base[module + ".weight"].shape[1]
            x = rand(generator, 3 * width, width) + 0.3
            gram[module] = (x.T @ x / x.shape[0]).float().double()
        grams.append(gram)
    save("inputs", "gram",
         {f"expert{i}/{n}": v for i, g in enumerate(grams) for n, v in g.items()}, {},
         "X^T X / rows of normal X", package="torch " + torch.__version__)
    params = {name: [e[name] for e in experts] for name in base}
    for ratio in (0.95, 0.6, 0.0):
        merged = regmean_module.merging_with_regmean_weights(
            models_to_merge_param_dict=params,
            models_to_merge_regmean_weights_list=grams,
            reduce_non_diagonal_ratio=ratio,
            weight_transpose=True,
        )
        save("regmean", f"ratio{ratio}".replace(".", ""), dict(merged),
             dict(off_diagonal_ratio=ratio),
             "fusion_bench.method.regmean.regmean.merging_with_regmean_weights",
             statistics="inputs__gram")


class Classifier(nn.Module):
    """A two-layer classifier whose output looks like a HuggingFace model's."""

    def __init__(self, inputs, hidden, classes):
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x):
        class Output:
            logits = self.fc2(torch.relu(self.fc1(x)))
        return Output


class BatchTrainer:
    """The three members of a HuggingFace Trainer that the originals use."""

    def __init__(self, batches):
        self._batches = batches
        self._train_batch_size = batches.shape[1]

    def get_train_dataloader(self):
        return [{"x": batch} for batch in self._batches]

    def _prepare_inputs(self, inputs):
        return inputs


def captured(module, name, call):
    """Runs call() and returns (its result, the keyword arguments module.name got)."""
    original, seen = getattr(module, name), {}

    def wrapper(**kwargs):
        seen.update(kwargs)
        return original(**kwargs)

    setattr(module, name, wrapper)
    try:
        return call(), seen
    finally:
        setattr(module, name, original)


def make_statistics_from_data():
    """Fisher and RegMean end to end on a small classifier, statistics included."""
    generator = torch.Generator().manual_seed(17)
    models, trainers, tensors = [], [], {}
    for index in range(2):
        model = Classifier(6, 7, 4)
        for name, parameter in model.named_parameters():
            parameter.data = rand(generator, *parameter.shape, scale=0.5)
            tensors[f"expert{index}/{name}"] = parameter.detach().clone()
        batches = rand(generator, 3, 5, 6)  # three batches of five rows
        tensors[f"batches/expert{index}"] = batches
        models.append(model)
        trainers.append(BatchTrainer(batches))
    inputs = dict(tensors)
    counts = [15, 15]

    merged, seen = captured(
        fisher_module, "merging_with_fisher_weights",
        lambda: fisher_module.fisher_merging(models, trainers, [], counts))
    for index, fisher in enumerate(seen["models_to_merge_fisher_weights_list"]):
        for name, value in fisher.items():
            tensors[f"fisher/expert{index}/{name}"] = value
    tensors.update({f"merged/{n}": v for n, v in merged.items()})
    save("fisher", "from_batches", tensors,
         dict(normalize=True, floor=1e-6, examples=15, batch=5, variant="batch_squared"),
         "fusion_bench.method.fisher_merging.fisher_merging.fisher_merging")

    tensors = inputs
    merged, seen = captured(
        regmean_module, "merging_with_regmean_weights",
        lambda: regmean_module.regmean_merging(models, trainers, [], counts, 0.95))
    for index, gram in enumerate(seen["models_to_merge_regmean_weights_list"]):
        for name, value in gram.items():
            tensors[f"gram/expert{index}/{name}"] = value
    tensors.update({f"merged/{n}": v for n, v in merged.items()})
    save("regmean", "from_batches", tensors,
         dict(off_diagonal_ratio=0.95, examples=15, batch=5),
         "fusion_bench.method.regmean.regmean.regmean_merging")


# --- AdaMerging -------------------------------------------------------------


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.fc2 = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class PlainFabric:
    """Stands in for Lightning Fabric on one CPU process: no casts, no moves."""

    device = torch.device("cpu")
    _loggers = None  # read by the original when the algorithm object is destroyed

    def __init__(self):
        self.gradients, self.coefficients, self.losses = [], [], []

    def setup(self, module, optimizer):
        optimizer.register_step_pre_hook(self.before_step)
        optimizer.register_step_post_hook(self.after_step)
        self.module = module
        return module, optimizer

    def before_step(self, *_):
        self.gradients.append(self.module.merge_weight.grad.clone())

    def after_step(self, *_):
        self.coefficients.append(self.module.merge_weight.detach().clone())

    def backward(self, loss, retain_graph=False):
        self.losses.append(loss.detach().clone())
        loss.backward(retain_graph=retain_graph)

    def log_dict(self, *_, **__):
        pass


class Tasks:
    model_names = ["task0", "task1", "task2"]


def with_given_batches(algorithm_class):
    """The original algorithm with batches and heads supplied from tensors."""

    class Given(algorithm_class):
        def get_shuffled_test_loader_iter(self, task):
            return self.streams[task]

        def compute_logits(self, module, images, task):
            images = images[0] if isinstance(images, (tuple, list)) else images
            return module(images) @ self.heads[task].T

    return Given


def adamerging_inputs(steps):
    generator = torch.Generator().manual_seed(19)
    tensors = {}
    for model in ["base", "expert0", "expert1", "expert2"]:
        for name, parameter in Backbone().named_parameters():
            noise = rand(generator, *parameter.shape, scale=0.4)
            start = 0 if model == "base" else tensors[f"base/{name}"]
            tensors[f"{model}/{name}"] = (noise + start).float().double()
    for index, classes in enumerate((3, 5, 4)):
        tensors[f"head/task{index}"] = rand(generator, classes, 4)
        tensors[f"batches/task{index}"] = rand(generator, steps, 4, 6)
    return tensors


def backbone(tensors, name):
    model = Backbone()
    model.load_state_dict({
        key.split("/")[1]: value for key, value in tensors.items()
        if key.startswith(name + "/")
    })
    return model


def adamerging_coefficients(layer_wise, spread):
    shape = (3, 4) if layer_wise else (3,)
    values = torch.full(shape, 0.3)
    if spread:  # one below 0 and one above 1, which clamping freezes
        values.view(-1)[0], values.view(-1)[-1] = -0.05, 1.1
    return values


def run_adamerging(layer_wise, clamp, lr, spread, steps=5):
    tensors = adamerging_inputs(steps)
    base_class = LayerWiseAdaMergingAlgorithm if layer_wise else TaskWiseAdaMergingAlgorithm
    algorithm = with_given_batches(base_class)(
        DictConfig(dict(optimizer="adam", lr=lr, max_steps=steps)))
    fabric = PlainFabric()
    algorithm._fabric = algorithm._fabric_instance = fabric
    algorithm.modelpool = Tasks
    algorithm.heads = {t: tensors[f"head/{t}"] for t in Tasks.model_names}
    algorithm.streams = {
        t: iter([(batch,) for batch in tensors[f"batches/{t}"]]) for t in Tasks.model_names
    }
    initial = adamerging_coefficients(layer_wise, spread)
    tensors["coefficients/initial"] = initial.clone()
    models = (backbone(tensors, "base"),
              [backbone(tensors, f"expert{i}") for i in range(3)])
    wrapper = LayerWiseMergedModel if layer_wise else TaskWiseMergedModel
    module = wrapper(initial.clone(), *models, clamp_weights=clamp)
    algorithm.test_time_adaptation(module)
    tensors["gradients"] = torch.stack(fabric.gradients)
    tensors["coefficients"] = torch.stack(fabric.coefficients)
    tensors["losses"] = torch.stack(fabric.losses).reshape(steps, 3)
    for name, value in module.merge_and_unload().state_dict().items():
        tensors[f"merged/{name}"] = value.detach().clone()
    return tensors


def make_adamerging():
    for case, layer_wise, clamp, lr, spread in (
        ("layer_wise", True, False, 1e-3, False),
        ("layer_wise_clamped", True, True, 0.05, True),
        ("task_wise", False, False, 1e-3, False),
        ("task_wise_clamped", False, True, 0.05, True),
    ):
        tensors = run_adamerging(layer_wise, clamp, lr, spread)
        name = "LayerWise" if layer_wise else "TaskWise"
        save("adamerging", case, tensors,
             dict(granularity="tensor" if layer_wise else "task", clamp=clamp, lr=lr,
                  steps=5, entropy_epsilon=1e-8),
             f"fusion_bench.method.adamerging.{name}AdaMergingAlgorithm."
             f"test_time_adaptation with {name}MergedModel",
             tensor_order=";".join(n for n, _ in Backbone().named_parameters()))


def make_entropy():
    generator = torch.Generator().manual_seed(23)
    logits = rand(generator, 6, 5, scale=3.0)
    logits[0] = torch.tensor([200.0, 0.0, -200.0, 0.0, 0.0])  # one class, log(0 + eps)
    logits[1] = 1.0  # uniform
    logits.requires_grad_(True)
    loss = entropy_loss_module.entropy_loss(logits)
    loss.backward()
    save("adamerging", "entropy", dict(logits=logits, loss=loss, gradient=logits.grad),
         dict(entropy_epsilon=1e-8),
         "fusion_bench.method.adamerging.entropy_loss.entropy_loss")


# --- ensembles and routed models --------------------------------------------


class Given(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self):
        return self.value


def make_ensembles():
    generator = torch.Generator().manual_seed(29)
    features = [rand(generator, 5, 6) for _ in range(4)]
    inputs = {f"features/expert{i}": f for i, f in enumerate(features)}
    members = [Given(f) for f in features]
    prefix = "fusion_bench.models.wrappers.ensemble."
    save("ensemble", "simple", {**inputs, "output": EnsembleModule(members)()}, {},
         prefix + "EnsembleModule")
    weights = [0.1, 0.2, 0.3, 0.6]
    for normalize in (True, False):
        module = WeightedEnsembleModule(members, weights, normalize=normalize)
        save("ensemble", "weighted_" + ("normalized" if normalize else "raw"),
             {**inputs, "output": module()}, dict(normalize=normalize, weights=weights),
             prefix + "WeightedEnsembleModule")
    save("ensemble", "max", {**inputs, "output": MaxModelPredictor(members)()}, {},
         prefix + "MaxModelPredictor")


def routed_mlp_module(module_class, base, experts, depth, batch_reduce, generator, **options):
    mlps = [vision_model(m).vision_model.encoder.layers[0].mlp for m in [base, *experts]]
    module = module_class(
        hidden_size=zoo.CONFIG["hidden_size"], base_model=mlps[0],
        expert_models=mlps[1:], init_lambda=0.3, batch_first=True,
        router_hidden_layers=depth, batch_reduce=batch_reduce, **options,
    )
    for parameter in module.gate.parameters():
        parameter.data = rand(generator, *parameter.shape, scale=0.5)
    return module


def make_routed_mlps(method, module_class, base, experts, cases, **options):
    for depth, reduce in cases:
        generator = torch.Generator().manual_seed(31)
        module = routed_mlp_module(module_class, base, experts, depth, reduce, generator, **options)
        hidden = rand(generator, 3, 5, zoo.CONFIG["hidden_size"])
        probe = rand(generator, 3, 5, zoo.CONFIG["hidden_size"])
        output = module(hidden)
        (output * probe).sum().backward()
        tensors = dict(hidden_states=hidden, probe=probe, output=output)
        for name, parameter in module.gate.named_parameters():
            tensors[f"router/{name}"] = parameter
            tensors[f"router_gradient/{name}"] = parameter.grad
        gate = module.gate(hidden)
        tensors["coefficients"] = gate if depth == 0 else gate.mean(dim=1)
        given = {name: value for name, value in options.items() if value is not None}
        save(method, f"router{depth}_{'batch' if reduce else 'sample'}", tensors,
             dict(router_layers=depth, batch_reduce=reduce, module=MLP.rstrip("."), **given),
             f"{module_class.__module__}.{module_class.__name__}.forward",
             gradient="d sum(output * probe) / d router")


def make_wemoe(base, experts):
    cases = ((2, True), (2, False), (1, True), (1, False), (0, True))
    make_routed_mlps("wemoe", WeightEnsemblingMoE, base, experts, cases)


def make_rankone_moe(base, experts):
    cases = ((1, True), (1, False), (0, True))
    # its default svd_accelerator=False makes the matrices boolean
    make_routed_mlps("rankone_moe", RankOneMoE, base, experts, cases, rank_k=3, svd_accelerator=None)


# --- subspace and pruning methods ---------------------------------------------


class SubspaceFabric(PlainFabric):
    world_size = 1

    def to_device(self, value):
        return value

    def log(self, *_, **__):
        pass


def with_fabric(algorithm):
    algorithm._fabric = algorithm._fabric_instance = SubspaceFabric()
    return algorithm


def linear_names(base):
    return [n + ".weight" for n in linear_modules(vision_model(base))]


def make_iso_cts(base, experts):
    for common, scale in ((0.5, 1.0), (0.8, 1.5)):
        algorithm = with_fabric(IsotropicMergingInCommonAndTaskSubspace(scale, common))
        save("iso_cts", f"common{common}".replace(".", ""),
             state(algorithm.run(pool(base, experts))), dict(common=common, scale=scale),
             "fusion_bench.method.isotropic_merging.iso."
             "IsotropicMergingInCommonAndTaskSubspace.run")


def make_tsv_c(base, experts):
    class Task:
        def __init__(self, vector):
            self.vector = vector

    vectors = {f"expert{i}": Task(state_dict_sub(e, base)) for i, e in enumerate(experts)}
    tensors = {}
    for task, parts in compress_tv(vectors, 1 / len(experts)).items():
        for name, part in parts.items():
            delta = part["dim1"] if "dim1" in part else (part["u"] * part["s"]) @ part["v"]
            tensors[f"{task}/{name}"] = base[name] + delta
    save("tsv_c", "default", tensors, dict(fraction=1 / len(experts)),
         "fusion_bench.method.task_singular_vector.utils.TSVC_utils.compress_tv")


def ties_by_definition(values, density, merge):
    """TIES of one tensor; the election of a zero sum is -1."""
    kept = []
    for value in values:
        flat = value.ravel()
        order = np.argsort(-np.abs(flat), kind="stable")[: int(flat.size * density)]
        trimmed = np.zeros_like(flat)
        trimmed[order] = flat[order]
        kept.append(trimmed.reshape(value.shape))
    kept = np.stack(kept)
    sign = np.where(kept.sum(axis=0) > 0, 1.0, -1.0)
    agree = kept * sign > 0
    total = np.where(agree, kept, 0.0).sum(axis=0)
    return total / np.maximum(agree.sum(axis=0), 1) if merge == "mean" else total


def make_knots(base, experts):
    for merge, density in (("sum", 0.2), ("mean", 0.5)):
        tensors = {}
        for name, value in base.items():
            taus = [e[name] - value for e in experts]
            if value.dim() == 2:
                u, s, vs = subspace_alignment(taus)
                parts = [(s[:, None] * v).numpy() for v in vs]
                delta = u @ torch.from_numpy(ties_by_definition(parts, density, merge))
            else:
                delta = torch.from_numpy(
                    ties_by_definition([t.numpy() for t in taus], density, merge))
            tensors[name] = value + 0.3 * delta
        save("knots", f"{merge}", tensors, dict(density=density, merge=merge, scale=0.3),
             "fusion_bench.method.knots.knots_utils.subspace_alignment + ties_by_definition "
             "(independent numpy computation)")


def make_svc(base, experts):
    # not after Iso-C: all its singular values are equal, so its singular vectors are arbitrary
    arithmetic = TaskArithmeticAlgorithm(scaling_factor=0.3)
    tsv_m = with_fabric(TaskSingularVectorMerging(alpha=1.0))
    for case, algorithm, scale, alpha in (
        ("task_arithmetic", arithmetic, 0.3, 0.1), ("tsv_m", tsv_m, 1.0, 0.5),
    ):
        models = pool(base, experts)
        models.add_model("_merged_", algorithm.run(pool(base, experts)))
        calibrated = SingularValueCalibration(alpha=alpha).run(models)
        save("svc", case, state(calibrated), dict(base=case, alpha=alpha, scale=scale),
             "fusion_bench.method.singular_value_calibration.svc."
             "SingularValueCalibration.run")


def make_wudi(base, experts):
    taus = [state_dict_sub(e, base) for e in experts]
    for steps in (30, 400):
        delta = wudi_merging(taus, accelerator="cpu", iter_num=steps)
        save("wudi", f"steps{steps}",
             {name: base[name] + delta[name].detach() for name in base},
             dict(steps=steps, lr=1e-5, scale=1.0),
             "fusion_bench.method.wudi.wudi.wudi_merging")


def make_doge_ta(base, experts):
    algorithm = with_fabric(DOGE_TA_Algorithm(subspace=6, K=30, lamda=0.07))
    save("doge_ta", "default", state(algorithm.run(pool(base, experts))),
         dict(subspace=6, density=0.3, scale=0.07, steps=400, lr=1e-4),
         "fusion_bench.method.doge_ta.doge_ta.DOGE_TA_Algorithm.run")


def same_class_embedding(base, experts):
    """OPCM and DOP skip parameters of modules with children: let nothing change there."""
    name = "vision_model.embeddings.class_embedding"
    return [{**e, name: base[name].clone()} for e in experts]


class Program:
    class taskpool:
        _test_datasets = None


def make_opcm(base, experts):
    class Given(OPCMForCLIP):
        log_dir = None

    for alpha in (0.5, 0.2):
        algorithm = with_fabric(Given(alpha=alpha, shuffle_order=False,
                                      save_on_every_step=False))
        algorithm._program = Program
        merged = algorithm.run(pool(base, same_class_embedding(base, experts)))
        save("opcm", f"alpha{alpha}".replace(".", ""), state(merged), dict(alpha=alpha),
             "fusion_bench.method.opcm.opcm.OPCMForCLIP.run",
             class_embedding="the base's in every expert")


def make_dop(base, experts):
    class Given(ContinualDOPForCLIP):
        log_dir = None

    for case, options in (
        ("default", dict(lr=1e-4, num_steps=200, ema_beta=0.999, alpha=0.8)),
        ("smoothed", dict(lr=1e-3, num_steps=20, ema_beta=0.5, alpha=0.6)),
    ):
        algorithm = with_fabric(Given(
            seed=1, shuffle_order=False, save_on_every_step=False, svd_epsilon=0.99999,
            mgda=True, ema=True, svd_proj_space="uv", **options))
        merged = algorithm.run(pool(base, same_class_embedding(base, experts)))
        save("dop", case, state(merged),
             dict(steps=options["num_steps"], lr=options["lr"], alpha=options["alpha"],
                  beta=options["ema_beta"], energy=0.99999),
             "fusion_bench.method.dop.dop.ContinualDOPForCLIP.run",
             class_embedding="the base's in every expert")


def make_smile(base, experts):
    pixels = rand(torch.Generator().manual_seed(37), 6, 3, 8, 8)
    # average_experts=True fails: it averages modules without parameters, too
    for case, k, gate_k, top_k in (("rank3", 3, 1, 1), ("rank8_gate4_top2", 8, 4, 2), ("dense", -1, 2, 1)):
        algorithm = SmileUpscalingAlgorithm(device="cpu", gate_k=gate_k, k=k, top_k=top_k)
        model = algorithm.run(pool(base, experts))
        # sdpa, not eager attention: the latter takes its softmax in float32
        model.vision_model.config._attn_implementation = "sdpa"
        with torch.no_grad():
            pooled = model(pixel_values=pixels).pooler_output
        save("smile", case, dict(pixels=pixels, pooled=pooled),
             dict(rank=max(k, 0), gate_rank=gate_k, top_k=top_k),
             "fusion_bench.method.smile_upscaling.SmileUpscalingAlgorithm.run, then forward")


def make_pruning(base, experts):
    tensors = {}
    for index, expert in enumerate(experts):
        merged = MagnitudeDiffPruningAlgorithm(prune_ratio=0.4, rescale=None).run(
            pool(base, [expert]))
        tensors.update({f"expert{index}/{n}": v for n, v in state(merged).items()})
    save("magnitude_diff_pruning", "ratio04", tensors, dict(ratio=0.4, rescale=False),
         "fusion_bench.method.pruning.magnitude_diff_pruning."
         "MagnitudeDiffPruningAlgorithm.run, one expert at a time")
    tensors = {}
    for index, expert in enumerate(experts):
        pruned = {name: value.clone() for name, value in expert.items()}
        for name in linear_names(base):
            unstructured_magnitude_prune_(pruned[name], torch.abs, 0.4)
        tensors.update({f"expert{index}/{n}": v for n, v in pruned.items()})
    save("magnitude_pruning", "ratio04", tensors, dict(ratio=0.4),
         "fusion_bench.method.pruning.prune_utils.unstructured_magnitude_prune_ "
         "on the linear weights")


def make_subspace(base, experts):
    make_iso_cts(base, experts)
    make_tsv_c(base, experts)
    make_knots(base, experts)
    make_svc(base, experts)
    make_wudi(base, experts)
    make_doge_ta(base, experts)
    make_opcm(base, experts)
    make_dop(base, experts)
    make_smile(base, experts)
    make_pruning(base, experts)


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    base, experts = zoo.make_zoo()
    save_golden(os.path.join(OUT, "inputs.safetensors"), zoo.as_inputs(base, experts),
                dict(made_by="zoo.py", dtype="float64"))
    make_averages(base, experts)
    make_task_arithmetic(base, experts)
    make_ties(base, experts)
    make_dare(base, experts)
    make_slerp(base, experts)
    make_emr(base, experts)
    make_others(base, experts)
    make_lines(base, experts)
    make_dare_others(base, experts)
    make_tall_masks(base, experts)
    make_trimmed(base, experts)
    make_by_definition(base, experts)
    make_lines_scaling()
    make_randes(base, experts)
    make_randes_shuffle()
    make_fisher(base, experts)
    make_regmean(base, experts)
    make_statistics_from_data()
    make_adamerging()
    make_entropy()
    make_ensembles()
    make_wemoe(base, experts)
    make_rankone_moe(base, experts)
    make_subspace(base, experts)


if __name__ == "__main__":
    main()
