#!/usr/bin/env python3
"""Regenerates the boards and studies of jobs/boards.txt: `./fusegrid leaderboard` runs it.

Each board is made by the commands that are printed: scripts of tools/ for its data, `zoo build`, `run`. What is there
already stays, so the same command continues after a stop. Results go to results/<job>; a board that fails is reported
at the end and stops none of the others.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BOARDS = ROOT / "jobs/boards.txt"
GROUPS = ("small", "seeds", "gpu")
_CORES_OF_ESTIMATE = 2
_COMPLETE = (0, 3)  # of `run`: all cells are recorded, in 3 some as failed or invalid


@dataclass(frozen=True)
class Zoo:
    recipe: str
    scales: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    job: str
    zoo_minutes: float
    run_minutes: float
    group: str
    scripts: tuple[str, ...]
    zoos: tuple[Zoo, ...]


def read_boards(path: Path = BOARDS) -> list[Board]:
    boards = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        zoos = [zoo.split() for zoo in " ".join(words[5:]).split(";")]
        if len(words) < 8 or words[3] not in GROUPS or any(len(zoo) < 3 or zoo[1] != "--scale" for zoo in zoos):
            raise ValueError(f"{path}:{number}: a board is 'job minutes minutes group scripts recipe --scale S ...'")
        scripts = () if words[4] == "-" else tuple(words[4].split(","))
        minutes = float(words[1]), float(words[2])
        read = tuple(Zoo(zoo[0], tuple(zoo[2].split(",")), tuple(zoo[3:])) for zoo in zoos)
        boards.append(Board(words[0], *minutes, words[3], scripts, read))
    return boards


def chosen_boards(boards: list[Board], groups: set[str], only: str | None) -> list[Board]:
    if only is not None:
        found = [board for board in boards if re.search(only, board.job)]
        if not found:
            raise ValueError(f"--only '{only}' finds no board; there are {', '.join(board.job for board in boards)}")
        return found
    return [board for board in boards if board.group in groups]


def estimated_minutes(boards: list[Board], done: set[str], workers: int) -> float:
    """Of those that are not done; a zoo counts once."""
    left = [board for board in boards if board.job not in done]
    zoos = {board.zoos: board.zoo_minutes for board in left}
    minutes = sum(zoos.values()) + sum(board.run_minutes for board in left)
    return minutes * _CORES_OF_ESTIMATE / max(workers, 1)


def commands_of(board: Board, launch: list[str], device: str | None) -> list[list[str]]:
    on = [] if device is None else ["--device", device]
    commands = [["tools/data_python", f"tools/{script}"] for script in board.scripts]
    for zoo in board.zoos:
        for scale in zoo.scales:
            commands.append([*launch, "zoo", "build", zoo.recipe, "--scale", scale, *zoo.options, *on])
    commands.append([*launch, "run", f"jobs/{board.job}.cfg", *on])
    return commands


def is_done(board: Board, program: str) -> bool:
    """Whether all cells of its plan are recorded."""
    folder = ROOT / "results" / board.job
    if not (folder / "leaderboard.md").exists():
        return False
    status = subprocess.run([program, "status", str(folder)], capture_output=True, text=True, cwd=ROOT, check=False)
    return status.returncode == 0 and ", 0 left" in status.stdout


def make(board: Board, launch: list[str], device: str | None) -> str:
    """Why it could not be made; "" where it is."""
    for command in commands_of(board, launch, device):
        if command[0] == "tools/data_python" and _is_made(command[1]):
            continue
        print(f"\n$ {shlex.join(command)}", flush=True)
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code not in (_COMPLETE if "run" in command else (0,)):
            return f"'{shlex.join(command)}' ended with {code}"
    return ""


def _is_made(script: str) -> bool:
    """Scripts write CACHE/<what they make>.h5."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = os.environ.get("FUSEGRID_CACHE") or caches / "fusegrid"
    made = {"many_pack": "embedded30", "scenes_pack": "scenes"}
    stem = Path(script).stem.removeprefix("make_")
    name = made.get(stem, stem.removesuffix("_pack"))
    return (Path(cache) / f"{name}.h5").exists()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./fusegrid leaderboard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", metavar="REGEX", help="boards whose job's name the expression finds, of any group")
    add("--group", action="append", choices=GROUPS, help="small (default), seeds, gpu; may be repeated")
    add("--device", choices=("auto", "cpu", "cuda"), help="where models are made and evaluated")
    add("--workers", type=int, default=os.cpu_count() or 1, help="ranks that work (default: one for each core)")
    add("--dry-run", action="store_true", help="print the boards, what is left and the estimate")
    add("--program", default="build/release/src/fusegrid", help=argparse.SUPPRESS)
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    boards = chosen_boards(read_boards(), set(arguments.group or ["small"]), arguments.only)
    done = {board.job for board in boards if is_done(board, arguments.program)}
    for board in boards:
        state = "done" if board.job in done else f"about {board.zoo_minutes + board.run_minutes:g} min on 2 cores"
        print(f"{board.job:19} {board.group:6} {state}")
    minutes = estimated_minutes(boards, done, arguments.workers)
    shared = "a zoo that several boards share counts once"
    print(f"about {minutes:.0f} min left with {arguments.workers} workers; {shared}", flush=True)
    if arguments.dry_run:
        return 0
    launch = ["mpirun", "-n", str(arguments.workers + 1), "--oversubscribe", arguments.program]
    failures = []
    for board in boards:
        begin = time.monotonic()
        if reason := make(board, launch, arguments.device):
            failures.append(f"{board.job}: {reason}")
        print(f"{board.job}: {(time.monotonic() - begin) / 60:.1f} min", flush=True)
    if failures:
        print("\n".join(failures), file=sys.stderr)
        return 1
    print("all boards are there: results/*/leaderboard.md")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError) as error:
        sys.exit(f"leaderboard: {error}")
    except KeyboardInterrupt:
        sys.exit("leaderboard: stopped; the same command continues")
