"""Golden values of merges that align units first, computed a second way in float64.

Run: python make_alignment.py [OUTPUT_FOLDER]   (default: methods/ beside this file)

Perceptrons of 12 inputs and 6 and 5 units, and a few images. Everything is dense: permutations and transports are
matrices, assignments are SciPy's, least squares numpy's; only the order in which groups are visited is fusegrid's.
"""

import os
import sys

import numpy as np
import scipy
import torch
from scipy.optimize import linear_sum_assignment

from golden_io import canonical, save_golden
from random_numbers import derive_key, philox

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "methods")

SIDE, WIDTHS, NARROW, EXPERTS, IMAGES = 2, (6, 5), (4, 3), 3, 40
GROUPS = [f"layers.{i}" for i in range(len(WIDTHS))]  # of units, one a layer


def random_expert(rng, widths=WIDTHS):
    expert, columns = {}, 3 * SIDE * SIDE
    for group, width in zip(GROUPS, widths):
        expert[group + ".weight"] = rng.standard_normal((width, columns)) * 0.5
        expert[group + ".bias"] = rng.standard_normal(width) * 0.3 + 1
        columns = width
    return {name: value.astype(np.float32).astype(np.float64) for name, value in expert.items()}


def activations(expert, images):
    """{group: [images, units]} and {group: what its layer reads}."""
    x = ((images.astype(np.float64) / 255 - 0.5) / 0.5).reshape(len(images), -1)
    made, read = {}, {}
    for group in GROUPS:
        read[group] = x
        x = np.maximum(x @ expert[group + ".weight"].T + expert[group + ".bias"], 0)
        made[group] = x
    return made, read


def assigned(scores):
    """The permutation matrix P for which sum P * scores is largest."""
    matrix = np.zeros(scores.shape)
    matrix[linear_sum_assignment(scores, maximize=True)] = 1
    return matrix


def moved(expert, maps):
    """The expert with its units mapped: [new, units] and [units, new] for each group."""
    result = {}
    for index, group in enumerate(GROUPS):
        reads = maps[GROUPS[index - 1]][1] if index else np.eye(expert[group + ".weight"].shape[1])
        result[group + ".weight"] = maps[group][0] @ expert[group + ".weight"] @ reads
        result[group + ".bias"] = maps[group][0] @ expert[group + ".bias"]
    return result


def as_maps(plans):
    return {group: (plan, plan.T) for group, plan in plans.items()}


def mean(models):
    return {name: sum(m[name] for m in models) / len(models) for name in models[0]}


def identities():
    return {group: np.eye(width) for group, width in zip(GROUPS, WIDTHS)}


def correlation(rows, columns):
    """Pearson's, of the columns of both."""
    a, b = rows - rows.mean(0), columns - columns.mean(0)
    return (a / np.linalg.norm(a, axis=0)).T @ (b / np.linalg.norm(b, axis=0))


# ---- the order in which fusegrid visits groups


def visits(sweep):
    order = list(range(len(GROUPS)))
    for i in range(len(order) - 1, 0, -1):
        j = philox(derive_key(0, "matching"), sweep, i)[0] * (i + 1) >> 32
        order[i], order[j] = order[j], order[i]
    return [GROUPS[i] for i in order]


def unit_rows(expert, plans, group):
    """What makes or reads each unit of a group, [units, numbers], the neighbours' units moved."""
    index = GROUPS.index(group)
    before = plans[GROUPS[index - 1]] if index else None
    weight = expert[group + ".weight"]
    rows = [weight if before is None else weight @ before.T, expert[group + ".bias"][:, None]]
    if index + 1 < len(GROUPS):
        after = GROUPS[index + 1]
        rows.append((plans[after] @ expert[after + ".weight"]).T)
    return np.concatenate(rows, 1)


def descended(first, other, score):
    plans = identities()
    for sweep in range(1, 101):
        changed = False
        for group in visits(sweep):
            scores = score(group, unit_rows(first, identities(), group), unit_rows(other, plans, group))
            better = assigned(scores)
            if (better * scores).sum() > (plans[group] * scores).sum() * (1 + 1e-9):
                plans[group], changed = better, True
        if not changed:
            return plans
    raise RuntimeError("no fixed point")


# ---- methods


def weight_matching(experts):
    plans = [identities()] + [descended(experts[0], e, lambda _, a, b: a @ b.T) for e in experts[1:]]
    return mean([moved(e, as_maps(p)) for e, p in zip(experts, plans)])


def activation_matching(experts, made):
    plans = [identities()]
    for of_expert in made[1:]:
        plans.append({g: assigned(correlation(made[0][g], of_expert[g])) for g in GROUPS})
    return mean([moved(e, as_maps(p)) for e, p in zip(experts, plans)])


def mudsc(experts, made, alpha):
    plans = [identities()]
    for expert, of_expert in zip(experts[1:], made[1:]):

        def score(group, a, b, own=of_expert):
            return alpha * correlation(a.T, b.T) + (1 - alpha) * correlation(made[0][group], own[group])

        plans.append(descended(experts[0], expert, score))
    return mean([moved(e, as_maps(p)) for e, p in zip(experts, plans)])


def zipped(similar, models, a, b):
    """makes and reads [merged, all], [all, merged], by looking at every pair in every step."""
    count = len(similar)
    clusters = [[i] for i in range(count)]
    values = similar.copy()
    budget = [int(b * (count - count // models) / models)] * models

    def origin(cluster):
        of = {unit // (count // models) for unit in cluster}
        return of.pop() if len(of) == 1 else None

    while len(clusters) > count // models:
        best = None
        for i in range(len(clusters)):
            for j in range(i + 1, len(clusters)):
                own = origin(clusters[i])
                if own is not None and own == origin(clusters[j]) and budget[own] <= 0:
                    continue
                if best is None or values[i, j] > values[best]:
                    best = (i, j)
        i, j = best
        if origin(clusters[i]) is not None and origin(clusters[i]) == origin(clusters[j]):
            budget[origin(clusters[i])] -= 1
        clusters[i] = clusters[i] + clusters.pop(j)
        values[i] = values[:, i] = a * np.minimum(values[i], values[j])
        values = np.delete(np.delete(values, j, 0), j, 1)
    makes, reads = np.zeros((len(clusters), count)), np.zeros((count, len(clusters)))
    for merged, cluster in enumerate(clusters):
        makes[merged, cluster], reads[cluster, merged] = 1 / len(cluster), 1
    return makes, reads


def zipit(experts, made, a, b):
    maps = [{} for _ in experts]
    for group in GROUPS:
        both = np.concatenate([m[group] for m in made], 1)
        makes, reads = zipped(correlation(both, both), len(experts), a, b)
        width = both.shape[1] // len(experts)
        for i, own in enumerate(maps):
            own[group] = makes[:, i * width:(i + 1) * width], reads[i * width:(i + 1) * width]
    parts = [moved(e, m) for e, m in zip(experts, maps)]
    return {name: sum(p[name] for p in parts) for name in parts[0]}


def distances(a, b):
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))


def sinkhorn(scores, temperature):
    kernel = np.exp(scores / temperature)
    u, v = np.ones(len(kernel)), np.ones(len(kernel))
    for _ in range(100000):
        u, v = 1 / (kernel @ v), 1 / (kernel.T @ (1 / (kernel @ v)))
    return u[:, None] * kernel * v[None]


def ot_fusion(experts, made, regularisation, by_activations):
    parts = [experts[0]]
    for expert, of_expert in zip(experts[1:], made[1:]):
        plans = {}
        for index, group in enumerate(GROUPS):
            if by_activations:
                cost = distances(made[0][group].T, of_expert[group].T) / np.sqrt(len(made[0][group]))
            else:
                own = expert[group + ".weight"]
                own = own if index == 0 else own @ plans[GROUPS[index - 1]].T
                cost = distances(np.c_[experts[0][group + ".weight"], experts[0][group + ".bias"]],
                                 np.c_[own, expert[group + ".bias"]])
            plans[group] = sinkhorn(-cost / cost.max(), regularisation) if regularisation else assigned(-cost)
        parts.append(moved(expert, as_maps(plans)))
    return mean(parts)


def transported(cost):
    """n T and m T of the linear programme of transport with masses 1/n and 1/m."""
    n, m = cost.shape
    marginals = np.zeros((n + m, n * m))
    for row in range(n):
        marginals[row, row * m:(row + 1) * m] = 1
    for column in range(m):
        marginals[n + column, column::m] = 1
    masses = np.r_[np.full(n, 1 / n), np.full(m, 1 / m)]
    plan = scipy.optimize.linprog(cost.ravel(), A_eq=marginals, b_eq=masses, method="highs").x.reshape(n, m)
    return n * plan, m * plan


def ot_fusion_of_unequal(target, other):
    maps = {}
    for index, group in enumerate(GROUPS):
        own = other[group + ".weight"]
        own = own @ maps[GROUPS[index - 1]][1] if index else own
        made, read = transported(distances(np.c_[target[group + ".weight"], target[group + ".bias"]],
                                           np.c_[own, other[group + ".bias"]]))
        maps[group] = (made, read.T)
    return mean([target, moved(other, maps)])


def products(parts):
    total = {name: sum(p[name] for p in parts) for name in parts[0]}
    return sum((total[n] ** 2).sum() - sum((p[n] ** 2).sum() for p in parts) for n in total) / 2


def c2m3(experts, iterations):
    """Frank-Wolfe with numerical gradients (central differences of a polynomial of degree 2 are exact)."""
    plans = [identities() for _ in experts]

    def value(all_plans):
        return products([moved(e, as_maps(p)) for e, p in zip(experts, all_plans)])

    def gradient(model, group):
        result = np.zeros(plans[model][group].shape)
        for place in np.ndindex(*result.shape):
            ends = []
            for step in (1e-3, -1e-3):
                shifted = [dict(p) for p in plans]
                shifted[model][group] = shifted[model][group].copy()
                shifted[model][group][place] += step
                ends.append(value(shifted))
            result[place] = (ends[0] - ends[1]) / 2e-3
        return result

    reached = value(plans)
    for _ in range(iterations):
        corners = [{g: assigned(gradient(i, g)) for g in GROUPS} for i in range(len(experts))]
        best = None
        for length in np.arange(1001) / 1000:
            there = [{g: p[g] * (1 - length) + c[g] * length for g in GROUPS} for p, c in zip(plans, corners)]
            if best is None or value(there) > best[0]:
                best = value(there), there
        if best[0] <= reached * (1 + 1e-5):
            break
        reached, plans = best
    plans = [{g: assigned(p[g]) for g in GROUPS} for p in plans]
    onto_first = [{g: plans[0][g].T @ p[g] for g in GROUPS} for p in plans]
    return mean([moved(e, as_maps(p)) for e, p in zip(experts, onto_first)])


def pleas(experts, made, read, apart, ridge):
    first, second = experts[:2]
    maps, kept = [{}, {}], {}
    for group, width in zip(GROUPS, WIDTHS):
        scores = correlation(made[0][group], made[1][group])
        partner = linear_sum_assignment(scores, maximize=True)[1]
        order = sorted(range(width), key=lambda k: -scores[k, partner[k]])
        merged = sorted(order[: width - int(apart * width + 0.5)])
        rest = sorted(set(range(width)) - set(merged))
        m, s = len(merged), len(rest)
        for i in range(2):
            units = [(k if i == 0 else partner[k]) for k in merged], [(k if i == 0 else partner[k]) for k in rest]
            makes, reads = np.zeros((m + 2 * s, width)), np.zeros((width, m + 2 * s))
            for place, unit in enumerate(units[0]):
                makes[place, unit], reads[unit, place] = 0.5, 1
            for place, unit in enumerate(units[1]):
                makes[m + i * s + place, unit], reads[unit, m + i * s + place] = 1, 1
            maps[i][group] = makes, reads
        kept[group] = [range(m), range(m, m + s), range(m + s, m + 2 * s)]
    parts = [moved(e, own) for e, own in zip((first, second), maps)]
    result = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    for index, group in enumerate(GROUPS):
        z = [read[i][group] @ (maps[i][GROUPS[index - 1]][0].T if index else np.eye(12) / 2) for i in range(2)]
        z = np.c_[z[0] + z[1], np.ones(IMAGES)]
        outs = [read[i][group] @ e[group + ".weight"].T + e[group + ".bias"] for i, e in enumerate((first, second))]
        wanted = sum(o @ own[group][0].T for o, own in zip(outs, maps))
        if index == 0:  # of what has no group every model reads the same
            result[group + ".weight"] = result[group + ".weight"].copy()
        for block, rows in enumerate(kept[group]):
            if len(rows) == 0:
                continue
            columns = list(range(12)) if index == 0 else sorted(
                set(kept[GROUPS[index - 1]][0]) | set(kept[GROUPS[index - 1]][block]) if block else
                set(range(z.shape[1] - 1)))
            columns.append(z.shape[1] - 1)
            start = np.c_[result[group + ".weight"], result[group + ".bias"]][np.ix_(list(rows), columns)]
            own = z[:, columns]
            pull = np.sqrt(ridge * (own**2).sum() / len(columns))
            system = np.r_[own, pull * np.eye(len(columns))]
            right = np.r_[wanted[:, list(rows)], pull * start.T]
            solved = np.linalg.lstsq(system, right, rcond=None)[0].T
            result[group + ".weight"][np.ix_(list(rows), columns[:-1])] = solved[:, :-1]
            result[group + ".bias"][list(rows)] = solved[:, -1]
    return result


def main():
    rng = np.random.default_rng(1)
    experts = [random_expert(rng) for _ in range(EXPERTS)]
    images = rng.integers(0, 256, (IMAGES, 3, SIDE, SIDE), dtype=np.uint8)
    made, read = zip(*(activations(e, images) for e in experts))
    assert all(m[g].std(0).min() > 0.01 for m in made for g in GROUPS), "a dead unit"
    scores = rng.standard_normal((9, 9))
    narrow = random_expert(np.random.default_rng(2), NARROW)
    cases = {
        "weight_matching": weight_matching(experts),
        "activation_matching": activation_matching(experts, made),
        "mudsc": mudsc(experts, made, 0.5),
        "zipit": zipit(experts, made, 0.3, 0.4),
        "ot_fusion": ot_fusion(experts, made, 0, False),
        "ot_fusion_entropic": ot_fusion(experts, made, 0.05, False),
        "ot_fusion_activations": ot_fusion(experts, made, 0.05, True),
        "ot_fusion_onto_wide": ot_fusion_of_unequal(experts[0], narrow),
        "ot_fusion_onto_narrow": ot_fusion_of_unequal(narrow, experts[0]),
        "c2m3": c2m3(experts, 100),
        "pleas": pleas(experts, made, read, 0.4, 1e-6),
    }
    tensors = {"images": torch.from_numpy(images), "scores": torch.from_numpy(scores),
               "assignment": torch.from_numpy(linear_sum_assignment(scores, maximize=True)[1].astype(np.int64)),
               "sinkhorn": torch.from_numpy(sinkhorn(scores, 0.3))}
    for index, expert in enumerate(experts):
        for name, value in expert.items():
            tensors[f"expert{index}/{name}"] = torch.from_numpy(value.astype(np.float32))
    for name, value in narrow.items():
        tensors[f"narrow/{name}"] = torch.from_numpy(value.astype(np.float32))
    for case, merged in cases.items():
        for name, value in merged.items():
            tensors[f"{case}/{name}"] = torch.from_numpy(value.astype(np.float32))
    save_golden(os.path.join(OUT, "alignment__perceptrons.safetensors"), tensors,
                dict(method="alignment", dtype="float64", original="make_alignment.py (independent numpy computation)",
                     options=canonical(dict(a=0.3, b=0.4, alpha=0.5, regularisation=0.05, apart=0.4, ridge=1e-6)),
                     package=f"numpy {np.__version__}, scipy {scipy.__version__}"))


if __name__ == "__main__":
    main()
