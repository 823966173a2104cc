#!/usr/bin/env python3
"""Prints how many predictions another precision changes.

usage: precision_changes.py REFERENCE_RESULTS RESULTS...

Each folder holds the results.h5 of one job, run with another `precision` each. A row of the table is
a task; a column is a folder, with the examples of all methods whose predicted class is another one
than in the reference, and the largest change of the accuracy of a method in points.
"""

import sys
from collections import defaultdict
from pathlib import Path

import h5py
import numpy


def read_predictions(folder: Path) -> dict[tuple[str, str], numpy.ndarray]:
    with h5py.File(folder / "results.h5") as file:
        classes = file["predictions/class"]
        return {
            (row["cell"].decode(), row["split"].decode()): classes[row["offset"] : row["offset"] + row["count"]]
            for row in file["predictions/index"]
        }


def read_scores(folder: Path) -> dict[str, list[tuple[str, float]]]:
    scores = defaultdict(list)
    with h5py.File(folder / "results.h5") as file:
        for row in file["metrics"]:
            if row["metric"] == b"accuracy" and row["split"] == b"test":
                scores[row["task"].decode()].append((row["cell"].decode(), float(row["value"])))
    return {task: sorted(rows) for task, rows in scores.items()}


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folders = [Path(argument) for argument in sys.argv[1:]]
    reference, reference_scores = read_predictions(folders[0]), read_scores(folders[0])
    others = [(read_predictions(folder), read_scores(folder)) for folder in folders[1:]]
    print("| task | predictions |" + "".join(f" {folder.name} |" for folder in folders[1:]))
    print("|---|---|" + "---|" * len(others))
    for task, scores in reference_scores.items():
        cells = [(cell, "test") for cell, _ in scores if (cell, "test") in reference]
        count = sum(len(reference[cell]) for cell in cells)
        row = f"| {task} | {count} |"
        for predictions, other_scores in others:
            changed = sum(int((reference[cell] != predictions[cell]).sum()) for cell in cells)
            largest = max(abs(a[1] - b[1]) for a, b in zip(scores, other_scores[task], strict=True))
            row += f" {changed} ({100 * changed / count:.2f} %), {100 * largest:.2f} |"
        print(row)


if __name__ == "__main__":
    main()
