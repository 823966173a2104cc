"""Golden values of methods of task vectors that no package offers, computed from their rules by numpy in float64.

Run: python make_task_vectors.py [OUTPUT_FOLDER]   (default: methods/ beside this file)

LAPACK's SVD and pseudoinverse throughout, no Gram matrices of the smaller side, nothing rounded to float32 before the
end. A file has some of the model's tensors: matrices of each shape, a bias, a kernel and an embedding.
"""

import os
import sys

import numpy as np
import torch

import zoo
from golden_io import canonical, save_golden

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "methods")
LAYER = "vision_model.encoder.layers.0."
SHOWN = (LAYER + "self_attn.q_proj.weight", LAYER + "self_attn.v_proj.weight", LAYER + "mlp.fc1.weight",
         LAYER + "mlp.fc2.weight", LAYER + "mlp.fc1.bias", "vision_model.embeddings.position_embedding.weight")


def thin_svd(matrix):
    return np.linalg.svd(matrix, full_matrices=False)


def polar(matrix):
    u, _, vt = thin_svd(matrix)
    return u @ vt


def of_matrices(rule, others=lambda taus: sum(taus) / len(taus)):
    return lambda taus: rule(taus) if taus[0].ndim == 2 else others(taus)


# ---- WUDI's closed forms


def actmat(taus):
    return sum(t @ t.T @ t for t in taus) @ np.linalg.pinv(sum(t.T @ t for t in taus), rcond=1e-9, hermitian=True)


def wudi_in_closed_form(filter_of):
    def rule(taus):
        c = sum(t.T @ t / (t**2).sum() for t in taus)
        d = sum(t @ t.T @ t / (t**2).sum() for t in taus)
        values, vectors = np.linalg.eigh(c)
        f = filter_of(values[::-1])[::-1]
        start = sum(taus)
        exact = d @ vectors / np.maximum(values, 1e-8)
        return start @ vectors * (1 - f) @ vectors.T + exact * f @ vectors.T

    return rule


def early_end(time, rank):
    def filter_of(values):
        kept = int(np.ceil(len(values) * rank))
        return (1 - np.exp(-values * time)) * (np.arange(len(values)) < kept)

    return filter_of


def participating(values):
    s = np.sqrt(np.maximum(values, 1e-8))
    kept = int(np.ceil(s.sum() ** 2 / (s**2).sum()))
    return (np.arange(len(values)) < kept).astype(float)


# ---- spectra


def cart(rank):
    def rule(taus):
        mean = sum(taus) / len(taus)
        result = mean.copy()
        for tau in taus:
            u, s, vt = thin_svd(tau - mean)
            k = int(len(s) * rank)
            result += 0.9 * u[:, :k] * s[:k] @ vt[:k]
        return result

    return rule


def subspace_boosting(beta):
    def rule(taus):
        u, s, vt = thin_svd(sum(taus))
        cutoff = np.argmax(np.cumsum(s) / s.sum() >= beta)
        return u * np.maximum(s, s[cutoff]) @ vt

    return rule


def dc_merge(smoothing, density):
    def rule(taus):
        r = min(taus[0].shape)
        share = r // len(taus)
        triplets = [[part[:, :share] if i == 0 else part[:share] for i, part in enumerate(thin_svd(t))] for t in taus]
        left = polar(np.hstack([u for u, _, _ in triplets]))
        right = polar(np.hstack([vt.T for _, _, vt in triplets]))
        kept = []
        for u, s, vt in triplets:
            if smoothing != "none":
                line = np.ones_like(s) if smoothing == "average" else np.linspace(min(5.0, s[0] / s[-1]), 1, len(s))
                s = s.sum() * line / line.sum()
            core = left.T @ (u * s) @ vt @ right
            order = np.sort(np.abs(core).ravel())[::-1]
            count = max(1, int(density * r * r))
            assert count == len(order) or order[count] < order[count - 1] * (1 - 1e-6)
            kept.append(np.where(np.abs(core) >= order[count - 1], core, 0))
        kept = np.stack(kept)
        agree = np.sign(kept) == np.sign(kept.sum(0))
        agree &= kept != 0
        core = np.where(agree, kept, 0).sum(0) / np.maximum(agree.sum(0), 1)
        blocks = np.kron(np.eye(len(taus)), np.ones((share, share)))
        return left @ (core * blocks) @ right.T

    return rule


# ---- frequencies


def fr_merging(radius, align):
    """By the sums of the transform itself, without a fast one."""

    def transform(n):
        return np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)

    def rule(taus):
        rows, columns = taus[0].shape
        y, x = np.mgrid[:rows, :columns]
        kept = np.hypot(y - rows // 2, x - columns // 2) <= min(rows, columns) * radius
        left, right = transform(rows), transform(columns)
        parts = [(left.conj() @ (left @ t @ right * kept) @ right.conj()).real / t.size for t in taus]
        largest = max(np.abs(p).mean() for p in parts)
        return sum(p * largest / np.abs(p).mean() if align else p for p in parts)

    return rule


# ---- masks over the whole model


def zero_shot_trust_region(all_taus, keep):
    names = sorted(all_taus[0])
    flat = [np.concatenate([t[n].ravel() for n in names]) for t in all_taus]
    omega = sum(np.abs(a) * np.abs(b) for i, a in enumerate(flat) for j, b in enumerate(flat) if i != j)
    count = int(len(omega) * keep)
    merged = np.where(omega <= np.sort(omega)[count - 1], sum(flat), 0)
    return split(merged, names, all_taus[0])


def localize_and_stitch(all_taus, density):
    names = sorted(all_taus[0])
    masks = []
    for taus in all_taus:
        flat = np.abs(np.concatenate([taus[n].ravel() for n in names]))
        masks.append(flat > np.sort(flat)[-int(len(flat) * density)])
    flat = [np.concatenate([t[n].ravel() for n in names]) for t in all_taus]
    counts = np.maximum(sum(m.astype(float) for m in masks), 1)
    return split(sum(m * f for m, f in zip(masks, flat)) / counts, names, all_taus[0])


def split(flat, names, like):
    parts, begin = {}, 0
    for name in names:
        size = like[name].size
        parts[name] = flat[begin : begin + size].reshape(like[name].shape)
        begin += size
    return parts


def main():
    base, experts = zoo.make_zoo()
    taus = [{n: (e[n] - base[n]).numpy() for n in base} for e in experts]

    def save(method, case, merged, scale, **options):
        tensors = {n: torch.from_numpy((base[n].numpy() + scale * merged(n)).astype(np.float32)) for n in SHOWN}
        metadata = dict(method=method, options=canonical(dict(options, scale=scale)), dtype="float64",
                        original="make_task_vectors.py (independent numpy computation)",
                        package="numpy " + np.__version__)
        save_golden(os.path.join(OUT, f"{method}__{case}.safetensors"), tensors, metadata)

    def save_by_tensor(method, case, rule, scale, **options):
        save(method, case, lambda n: rule([t[n] for t in taus]), scale, **options)

    save_by_tensor("actmat", "default", of_matrices(actmat), 0.8)
    save_by_tensor("swudi", "default", of_matrices(wudi_in_closed_form(early_end(1300, 0.65))), 0.8)
    save_by_tensor("swudi", "soft", of_matrices(wudi_in_closed_form(early_end(3, 1))), 0.8, time=3, rank=1)
    save_by_tensor("aswudi", "default", of_matrices(wudi_in_closed_form(participating)), 0.8)
    save_by_tensor("cart", "rank03", of_matrices(cart(0.3)), 1, rank=0.3)
    save_by_tensor("subspace_boosting", "beta05",
                   lambda t: subspace_boosting(0.5)(t) if t[0].ndim == 2 and len(t[0]) != 5 else sum(t), 0.3, beta=0.5)
    for smoothing in ("none", "average", "linear"):
        save_by_tensor("dc_merge", smoothing, of_matrices(dc_merge(smoothing, 0.1)), 0.8, smoothing=smoothing,
                       density=0.1)
    for case, radius, align in (("default", 0.7, True), ("radius04", 0.4, False)):
        layers = fr_merging(radius, align)
        save("fr_merging", case,
             lambda n: (layers if n.startswith(LAYER) and taus[0][n].ndim == 2 else lambda t: sum(t) / len(t))(
                 [t[n] for t in taus]), 0.7, radius=radius, align=align)
    save("tatr_zero_shot", "keep08", zero_shot_trust_region(taus, 0.8).__getitem__, 0.3, keep=0.8)
    save("localize_and_stitch", "density03", localize_and_stitch(taus, 0.3).__getitem__, 1, density=0.3)


if __name__ == "__main__":
    main()
