#!/usr/bin/env python3
"""Compares the environment variables that script, CMake, program, tools and tests read with the table of docs/hpc.md.

usage: check_environment.py SOURCE-FOLDER
"""

import pathlib
import re
import sys

NAME = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*"
# bash has these itself
OF_BASH = {"BASH_SOURCE", "BASH_REMATCH", "SECONDS", "EUID", "PATH"}


def documented(page):
    """Variables in the first column of the tables with the header 'variable'."""
    names, inside = set(), False
    for line in page.splitlines():
        if line.startswith("| variable |"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside:
            names.update(re.findall(rf"`({NAME})`", line.split("|")[1]))
    return names


def read_by_program(text):
    """Names in getenv(...), and beside it in the lists that are handed to it."""
    if "getenv" not in text:
        return set()
    return set(re.findall(rf'getenv\("({NAME})"\)', text)) | {
        name for name in re.findall(rf'"({NAME})"', text) if re.match(r"(OMPI|PMIX?|SLURM|FUSEGRID)_", name)
    }


def read_by_script(text):
    """Names that the script expands but never sets itself, those in capitals."""
    expanded = set(re.findall(rf"\$\{{?({NAME})\b", text))
    return {name for name in expanded if len(name) > 3} - OF_BASH


def read_variables(root):
    found = {}

    def add(path, names):
        for name in names:
            found.setdefault(name, path)

    for folder in ("src", "tests"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".cpp", ".h", ".cu"):
                add(path, read_by_program(path.read_text()))
    for path in [root / "CMakeLists.txt", *sorted((root / "cmake").glob("*.cmake"))]:
        add(path, re.findall(rf"ENV\{{({NAME})\}}", path.read_text()))
    for path in sorted((root / "tools").rglob("*.py")):
        add(path, re.findall(rf'environ(?:\.get\(|\[)"({NAME})"', path.read_text()))
    add(root / "fusegrid", read_by_script((root / "fusegrid").read_text()))
    return found


def faults(root):
    table = documented((root / "docs/hpc.md").read_text())
    read = read_variables(root)
    missing = [f"{read[name].relative_to(root)} reads {name}, which the table in docs/hpc.md lacks"
               for name in sorted(set(read) - table)]
    unread = [f"docs/hpc.md has the variable {name}, which nothing reads" for name in sorted(table - set(read))]
    return missing + unread


if __name__ == "__main__":
    found = faults(pathlib.Path(sys.argv[1]))
    print("\n".join(found))
    sys.exit(bool(found))
