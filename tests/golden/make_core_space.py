"""Golden values of Core Space (Panariello et al., NeurIPS 2025, arXiv:2509.17786) in float64 by numpy.

Run: python make_core_space.py [OUTPUT_FOLDER]   (default: methods/ beside this file)

No package offers the method for full weights, so its formulas are computed here a second way: factors, stacked factors,
aligned cores by the longer of the paper's two formulas (the SVDs of each factor and their alignment with the reference
bases), LAPACK's SVD everywhere, no Gram matrices, no cache and nothing rounded to float32. As in the authors' code
bases and cores keep their full sizes, TIES keeps every entry that reaches the k-th smallest magnitude, and TSV fills
matrices of the core's sizes. Its margins are asserted: no entry of a core is close to the threshold.
"""

import os
import sys

import numpy as np
import torch

import zoo
from golden_io import canonical, save_golden

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "methods")


def thin_svd(matrix):
    return np.linalg.svd(matrix, full_matrices=False)


def factors(tau, rank):
    u, s, vt = thin_svd(tau)
    r = min(rank, len(s)) if rank else len(s)
    return u[:, :r] * np.sqrt(s[:r]), np.sqrt(s[:r])[:, None] * vt[:r]


def aligned_cores(pairs):
    u_ref = thin_svd(np.hstack([b for b, _ in pairs]))[0]
    vt_ref = thin_svd(np.vstack([a for _, a in pairs]))[2]
    cores = []
    for b, a in pairs:
        u_b, s_b, vt_b = thin_svd(b)
        u_a, s_a, vt_a = thin_svd(a)
        middle = np.diag(s_b) @ vt_b @ u_a @ np.diag(s_a)
        cores.append((u_ref.T @ u_b) @ middle @ (vt_a @ vt_ref.T))
        assert np.allclose(cores[-1], u_ref.T @ b @ a @ vt_ref.T, atol=1e-13)
    return u_ref, cores, vt_ref


def trimmed_by_threshold(value, density):
    magnitudes = np.sort(np.abs(value).ravel())
    k = magnitudes.size - int(magnitudes.size * density)
    threshold = magnitudes[k - 1]
    others = np.delete(magnitudes, k - 1)
    assert np.abs(others / threshold - 1).min() > 1e-4, "an entry is too close to the threshold"
    return np.where(np.abs(value) >= threshold, value, 0.0)


def trimmed_by_position(value, density):
    """The same number of entries, of equal ones the first: for tensors with planted ties."""
    flat = value.ravel()
    count = min(flat.size, int(flat.size * density) + 1)
    kept = np.zeros_like(flat)
    order = np.argsort(-np.abs(flat), kind="stable")[:count]
    kept[order] = flat[order]
    return kept.reshape(value.shape)


def elected_mean(kept):
    kept = np.stack(kept)
    agree = np.where(kept.sum(axis=0) > 0, kept > 0, kept < 0)
    return np.where(agree, kept, 0.0).sum(axis=0) / np.maximum(agree.sum(axis=0), 1)


def tsv(cores):
    triplets = [thin_svd(core) for core in cores]
    size = len(triplets[0][1])
    share = size // len(cores)
    u, s, vt = (np.zeros_like(part) for part in triplets[0])
    for i, (u_i, s_i, vt_i) in enumerate(triplets):
        own = slice(i * share, (i + 1) * share)
        u[:, own], s[own], vt[own] = u_i[:, :share], s_i[:share], vt_i[:share]
    # the rest of u and vt is zero: leave it out, as its polar factor is arbitrary and has singular value 0
    used = share * len(cores)
    left_u, _, left_vt = thin_svd(u[:, :used])
    right_u, _, right_vt = thin_svd(vt[:used])
    return left_u @ left_vt @ np.diag(s[:used]) @ right_u @ right_vt


def isotropic(core):
    u, s, vt = thin_svd(core)
    rank = (s > 1e-10 * s[0]).sum()  # what is zero has no direction of its own
    return u[:, :rank] @ vt[:rank] * s.mean()


def merged(taus, rank, merge, density):
    if taus[0].ndim != 2:
        if merge.startswith("ties"):
            return elected_mean([trimmed_by_position(tau, density) for tau in taus])
        return sum(taus) if merge == "task_arithmetic" else sum(taus) / len(taus)
    u_ref, cores, vt_ref = aligned_cores([factors(tau, rank) for tau in taus])
    if merge.startswith("ties"):
        core = elected_mean([trimmed_by_threshold(c, density) for c in cores])
    else:
        core = tsv(cores) if merge.startswith("tsv") else sum(cores)
    if merge.endswith("iso_c"):
        core = isotropic(core)
    return u_ref @ core @ vt_ref


def main():
    base, experts = zoo.make_zoo()
    for rank, merge, density in (
        (2, "task_arithmetic", None), (0, "ties", 0.2), (1, "ties", 0.4), (2, "tsv", None),
        (1, "iso_c", None), (1, "ties_iso_c", 0.4), (0, "tsv_iso_c", None),
    ):
        tensors = {}
        for name, value in base.items():
            taus = [(e[name] - value).numpy() for e in experts]
            tensors[name] = value + 0.7 * torch.from_numpy(merged(taus, rank, merge, density))
        options = dict(rank=rank, merge=merge, scale=0.7)
        if density is not None:
            options["density"] = density
        metadata = dict(method="core_space", options=canonical(options), dtype="float64",
                        original="make_core_space.merged (independent numpy computation)",
                        package="numpy " + np.__version__)
        save_golden(os.path.join(OUT, f"core_space__{merge}_rank{rank}.safetensors"), tensors, metadata)


if __name__ == "__main__":
    main()
