"""Makes a zoo, with its task pack and heads, from models and data sets that are on this machine.

    tools/data_python tools/fusegrid_import COMMAND SUITE.json --out FOLDER [options]

COMMAND is clip (image classification with CLIP's vision towers), image (the same with Vision Transformers and ResNets),
dense (maps of classes, depths or normals with ResNets), text (text classification), seq2seq (text to text) or
language_model (texts, questions with choices, and prompts with answers). SUITE.json says where models and data are:
docs/your_models.md.
Nothing is downloaded, weights stay where they are, and what is there already is not made again.
"""

import argparse
import importlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .hub import Roots
from .job import Job, Limits
from .models import check_expert, check_model
from .suite import read_suite

# A file of kinds/ is a command: make(job) writes OUT/pack.h5 and returns options of `fusegrid zoo import`.
COMMANDS = sorted(path.stem for path in Path(__file__).with_name("kinds").glob("[a-z]*.py"))
SUITES = Path(__file__).with_name("suites")


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    roots = Roots([*(given.models or []), *(given.data or [])])
    suite = read_suite(_suite_file(given.suite), given.size, given.tasks, given.test_split)
    job = Job(
        suite=suite,
        roots=roots,
        out=given.out,
        limits=Limits(given.train, given.val, given.test),
        any_counts=given.any_counts,
        prompts=given.prompts,
        base=roots.model(suite.base, suite.folder),
        experts={task.name: roots.model(task.expert, suite.folder) for task in suite.tasks if task.expert},
    )
    program = None if given.no_zoo else _program(given.fusegrid)
    # Refused before anything takes long.
    if not job.experts:
        raise ValueError(f"{suite.path}: a zoo has at least one expert, but no task names an 'expert'")
    check_model(job.base)
    for expert in job.experts.values():
        check_expert(job.base, expert, suite.adapter_base)
    made = importlib.import_module(f"fusegrid_import.kinds.{given.command}").make(job)
    if program is not None:
        _import_zoo(program, job, made)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fusegrid_import", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("suite", help=f"a file, or one of {', '.join(sorted(p.stem for p in SUITES.glob('*.json')))}")
    parser.add_argument("--out", type=Path, required=True, help="folder of the zoo")
    where = "looked through for names of the suite, as is the hub cache; may be repeated"
    parser.add_argument("--models", type=Path, action="append", help=f"folder of models, or a hub cache: {where}")
    parser.add_argument("--data", type=Path, action="append", help=f"folder of data sets, or a hub cache: {where}")
    parser.add_argument("--prompts", type=Path, help="clip: JSON file with the classes and templates of each task")
    parser.add_argument("--size", help="put in the place of {size} in names of models")
    parser.add_argument("--test-split", help="put in the place of {split} in names of splits of data sets")
    parser.add_argument("--tasks", help="the first N tasks of the suite, or names with commas between them")
    for split, default in (("train", 4096), ("val", 1000), ("test", 0)):
        parser.add_argument(
            f"--{split}",
            type=int,
            default=default,
            help=f"{split} examples of a task at most (default: " f"{default or 'all'}; 0: all)",
        )
    parser.add_argument(
        "--any-counts", action="store_true", help="do not compare numbers of examples with the suite's"
    )
    parser.add_argument("--fusegrid", help="the program (default: fusegrid in PATH, or this folder's)")
    parser.add_argument("--no-zoo", action="store_true", help="stop when pack and heads are made")
    return parser


def _suite_file(name: str) -> Path:
    own = SUITES / f"{name}.json"
    return own if own.is_file() and not Path(name).exists() else Path(name)


def _program(given: str | None) -> str:
    own = Path(__file__).resolve().parents[2] / "fusegrid"
    name = given or shutil.which("fusegrid") or str(own)
    if shutil.which(name) is None:
        raise ValueError(f"--fusegrid must name the program, but '{name}' cannot be run; build it, or pass --no-zoo")
    return name


def _import_zoo(program: str, job: Job, made: dict[str, str]) -> None:
    """made: options of `zoo import` that the command decides."""
    out = Path(os.path.abspath(job.out))
    command = [program, "zoo", "import", str(out), "--scale", job.suite.scale, "--suite", job.suite.name]
    command += ["--base", str(job.base), "--pack", str(out / "pack.h5")]
    for option, value in made.items():
        command += [f"--{option}", value]
    for task in job.suite.tasks:
        command += ["--expert", f"{task.name}={job.experts[task.name]}"] if task.expert else ["--unseen", task.name]
    if (out / "zoo.json").is_file():
        command.append("--replace")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="")
    if done.returncode != 0:
        raise ValueError("'fusegrid zoo import' failed, see above; pack and heads are kept in " + str(out))
