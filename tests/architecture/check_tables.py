#!/usr/bin/env python3
"""Compares the tables of results in README.md and results/reference/README.md with the committed leaderboards.

usage: check_tables.py SOURCE-FOLDER
"""

import csv
import pathlib
import re
import sys

# Rows of results/reference/README.md that name a method otherwise than the leaderboards do.
TITLES = {
    "Fisher": "Fisher Merging",
    "TIES": "TIES-Merging",
    "EMR": "EMR-Merging",
    "Core Space with Iso-C, rank H / 4 or H / 8": "Core Space",
    "WUDI": "WUDI-Merging",
    "SVC over TSV-M": "SVC",
    "RanDeS, layers shuffled": "RanDeS, shuffled layers",
}
# Folder of the leaderboard that a column is of.
LEADERBOARDS = {
    ("small, seed 0", "medium"): "embedded_medium",
    ("small, seed 0", "large"): "embedded_large",
    ("small, three seeds", "small, three seeds"): "data_free",
    ("small, three seeds", "medium"): "data_free_medium",
    ("small, three seeds", "large"): "data_free_large",
}
SEED_0 = "small, seed 0"
# The quickstart tries other learning rates for it than the runs over three seeds.
OTHER_GRID = {"WEMoE"}


def tables(text):
    """Every Markdown table: a list of rows, each a list of its cells."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        found.append([row for row in rows if not set("".join(row)) <= set(":-")])
    return found


def number(cell):
    return float(re.sub(r"[*† ]", "", cell).split("±")[0])


def averages(root, folder):
    """Title -> average in %, of the leaderboard in a folder of results/reference."""
    with open(root / "results/reference" / folder / "leaderboard.csv", newline="") as stream:
        return {row["title"]: 100 * float(row["average"]) for row in csv.DictReader(stream)}


def title_of(name):
    """As leaderboards have it: "EMR (task told)" is EMR-Merging."""
    name = name.removesuffix(" (task told)")
    return TITLES.get(name, name)


def differs(seen, wanted, tolerance):
    return wanted is None or abs(seen - wanted) > tolerance


def reference_faults(root, page):
    """Of the two tables of averages in results/reference/README.md."""
    faults = []
    for header, *rows in (table for table in page if table[0][1] in ("small, seed 0", "small, three seeds")):
        for row in rows:
            for column, cell in list(zip(header, row))[1:]:
                folder = LEADERBOARDS.get((header[1], column))
                if folder and differs(number(cell), averages(root, folder).get(title_of(row[0])), 0.0051):
                    faults.append(f"results/reference/README.md: {row[0]}, {column}: {cell} is not in {folder}")
    return faults


def quickstart_faults(root, readme, page):
    """Of the leaderboard in README.md: in itself, and against seed 0 of the references."""
    header, *rows = next(table for table in readme if table[0][0] == "Method")
    rows = [row for row in rows if row[1]]  # others name groups
    tasks = range(1, header.index("Average"))
    by_title = {row[0]: row for row in rows}
    faults = []
    for row in rows:
        accuracies = [number(row[task]) for task in tasks]
        if differs(number(row[header.index("Average")]), sum(accuracies) / len(accuracies), 0.056):
            faults.append(f"README.md: {row[0]}: its average is not that of its tasks")
        own = [number(by_title["Individual"][task]) for task in tasks]
        normalised = 100 * sum(a / b for a, b in zip(accuracies, own)) / len(own)
        if differs(number(row[header.index("Norm.")]), normalised, 0.2):
            faults.append(f"README.md: {row[0]}: Norm. does not follow from its tasks")
    seeds = next(table for table in page if table[0][1] == SEED_0)
    compared = 0
    for name, average, *_ in seeds[1:]:
        title = title_of(name)
        if title in by_title and title not in OTHER_GRID:
            compared += 1
            if differs(number(by_title[title][header.index("Average")]), number(average), 0.0051):
                faults.append(f"README.md: {title}: its average is not that of seed 0 in results/reference/README.md")
    if compared < 10:
        faults.append(f"README.md: only {compared} of its methods are in results/reference/README.md")
    return faults


def faults(root):
    readme = tables((root / "README.md").read_text())
    page = tables((root / "results/reference/README.md").read_text())
    return reference_faults(root, page) + quickstart_faults(root, readme, page)


if __name__ == "__main__":
    found = faults(pathlib.Path(sys.argv[1]))
    print("\n".join(found))
    sys.exit(bool(found))
