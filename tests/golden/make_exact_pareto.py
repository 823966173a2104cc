"""Weights of exact Pareto search, from its equations and SciPy's solver of linear programs: exact_pareto.json.

Mahapatra & Rajan, ICML 2020: the non-uniformity and its gradient, the program that balances and the one that descends.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import linprog

ROUND = 6  # digits of what is written: the inputs are these numbers


def weights(losses: np.ndarray, gram: np.ndarray, preference: np.ndarray) -> tuple[np.ndarray, str]:
    tasks = len(losses)
    weighted = preference * losses
    share = weighted / weighted.sum()
    non_uniformity = np.sum(share * np.log(share * tasks))
    toward = gram @ (preference * (np.log(share * tasks) - non_uniformity))
    if non_uniformity > 1e-4:
        lower = np.where(toward > 0, -np.inf, toward)
        lower[weighted == weighted.max()] = 0
        if not (toward > 0).any():
            lower = np.zeros(tasks)
        objective, rows, move = toward, gram, "balance"
    else:
        rows = np.vstack([gram, toward])
        lower = np.append(np.zeros(tasks), min(toward.max(), 0))
        objective, move = gram.sum(axis=0), "descend"
    kept = np.isfinite(lower)
    solved = linprog(
        -objective, A_ub=-rows[kept], b_ub=-lower[kept], A_eq=np.ones((1, tasks)), b_eq=[1], bounds=(0, 1)
    )
    assert solved.status == 0, solved.message
    return solved.x, move


def main(output: Path) -> None:
    cases = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        tasks = 2 + seed % 5
        gradients = random.normal(size=(tasks, 3 + seed % 3)).round(3)
        preference = random.dirichlet(np.ones(tasks)).round(ROUND)
        losses = random.uniform(0.2, 3, tasks).round(ROUND)
        if seed % 3 == 2:  # balanced up to the rounding
            losses = (1 / preference / tasks).round(ROUND)
        found, move = weights(losses, gradients @ gradients.T, preference)
        cases.append(
            {
                "move": move,
                "gradients": gradients.tolist(),
                "preference": preference.tolist(),
                "losses": losses.tolist(),
                "weights": found.round(10).tolist(),
            }
        )
    moves = {case["move"] for case in cases}
    assert moves == {"balance", "descend"}, moves
    (output / "exact_pareto.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
