#!/usr/bin/env python3
"""usage: tools/lint.py format|headers|prose|tidy [--build FOLDER] [--seconds N] [FOLDER...]

format   clang-format 14 would change nothing in any tracked .h or .cpp
headers  every header of src/ compiles alone
prose    README.md and docs/: no line over 120 characters and none with two sentences, tables, code and links excepted;
         src/ and tests/: no line with a comment over 120 characters
tidy     clang-tidy 14 with .clang-tidy finds nothing in the sources of src/

A verdict "clean" is remembered in the cache folder under a digest of the tool, its options, the file and the headers of
ours that it includes, directly or not; so only what a change touches is looked at again. Most of clang-tidy's time for a
file goes into ATen's headers (20 s of one core), so it gets several files of a folder as one. It takes first what differs
from the branch main, then the rest, and stops after --seconds (default: never), saying what it has not looked at: the next
run goes on with that. FOLDERs bound it to the sources below them (default: src).
"""

import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
TIDY_BATCH = 8  # files that clang-tidy gets as one
LONGEST_LINE = 120


def cache_folder():
    base = os.environ.get("FUSEGRID_CACHE")
    if not base:
        base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "fusegrid"
    folder = pathlib.Path(base) / "lint"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tool(name):
    """The pinned version, under either of its names."""
    for command in (f"{name}-14", name):
        try:
            version = subprocess.run([command, "--version"], capture_output=True, text=True).stdout
        except FileNotFoundError:
            continue
        if re.search(r"version 14\.", version):
            return command
    sys.exit(f"{name} 14 is needed: other versions judge differently. Run ./fusegrid setup --lint.")


def git(*arguments):
    run = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
    return run.stdout.split() if run.returncode == 0 else []


def tracked(*patterns):
    """Files in git, and new ones that are not ignored."""
    names = git("ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns)
    return sorted({name for name in names if (ROOT / name).is_file()})


@functools.cache
def included(name):
    """Files of src/ and tests/ that the file includes."""
    return [f"{folder}/{header}" for header in INCLUDE.findall((ROOT / name).read_text())
            for folder in ("src", "tests") if (ROOT / folder / header).is_file()]


def own_files(name, seen):
    """The file and every header of src/ and tests/ it includes, directly or not."""
    if name not in seen:
        seen.add(name)
        for header in included(name):
            own_files(header, seen)


def digest(names, *settings):
    files = set()
    for name in names:
        own_files(name, files)
    sha = hashlib.sha256("\0".join(settings).encode())
    for file in sorted(files):
        sha.update(f"\0{file}\0".encode() + (ROOT / file).read_bytes())
    return sha.hexdigest()


def compile_options(build):
    """Source name -> its options for the compiler, from the build's compile_commands.json."""
    database = ROOT / build / "compile_commands.json"
    if not database.is_file():
        sys.exit(f"{database} is missing: run ./fusegrid build {pathlib.Path(build).name} first.")
    options = {}
    for entry in json.loads(database.read_text()):
        words = shlex.split(entry["command"])
        keep = [word for i, word in enumerate(words)
                if word.startswith(("-I", "-D", "-std", "-march", "-W", "-f", "-isystem")) or words[i - 1] == "-isystem"]
        path = pathlib.Path(entry["file"])
        if not path.is_relative_to(ROOT):
            continue
        name = str(path.relative_to(ROOT))
        batch = included(name) if path.is_relative_to(ROOT / build / "batches") else [name]
        options.update({file: keep for file in batch})
    return options


def options_of_header(name, options):
    """Those of a source of the same folder; a folder of headers only takes the first source's."""
    folder = name.rsplit("/", 1)[0]
    for source in sorted(options):
        if source.startswith(f"{folder}/"):
            return options[source]
    return options[min(options)]


def check(jobs, seconds=float("inf")):
    """Runs {name: (key, command, translate)} side by side, in order, skipping remembered verdicts; after `seconds` it
    begins no more of them. translate(text) makes the tool's output readable. Returns whether all that it ran are clean."""
    cache = cache_folder()
    todo = [name for name, (key, *_) in jobs.items() if not (cache / key).exists()]
    print(f"{len(jobs)} checks: {len(jobs) - len(todo)} known to be clean, {len(todo)} to run", flush=True)
    end = time.monotonic() + seconds
    left = []

    def run(name):
        if time.monotonic() > end:
            left.append(name)
            return True
        key, command, translate = jobs[name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            (cache / key).touch()
            return True
        print(f"--- {name}\n{translate(done.stdout)}{done.stderr if not done.stdout else ''}", flush=True)
        return False

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        clean = all(list(pool.map(run, todo)))
    if left:
        print(f"not looked at in {seconds:.0f} s: {', '.join(sorted(left))}")
    return clean


def lint_format(_):
    return subprocess.run([tool("clang-format"), "--dry-run", "-Werror", *tracked("*.h", "*.cpp")], cwd=ROOT).returncode == 0


def lint_headers(arguments):
    options = compile_options(arguments.build)
    version = subprocess.run(["c++", "--version"], capture_output=True, text=True).stdout
    changed = changed_files()
    jobs = {}
    for name in sorted(tracked("src/*.h"), key=lambda name: (name not in changed, name)):
        command = ["c++", *options_of_header(name, options), "-fsyntax-only", "-include", name,
                   "-x", "c++", "/dev/null"]
        jobs[name] = (digest([name], version, *command), command, str)
    return check(jobs, arguments.seconds)


def changed_files():
    """What differs from the branch main, where there is one; else from the parent of what is checked out."""
    for base in ("origin/main", "main"):
        fork = git("merge-base", "HEAD", base)
        if fork and fork != git("rev-parse", "HEAD"):
            return set(git("diff", "--name-only", fork[0]))
    return set(git("diff", "--name-only", "HEAD~1"))


class Batch:
    """Files of a folder as one. Not by #include: clang's analyzer looks into the main file's functions alone."""

    def __init__(self, files, folder):
        self.files = files
        self.begins = []
        lines = []
        for file in files:
            self.begins.append(len(lines))
            lines += (ROOT / file).read_text().splitlines()
        self.path = pathlib.Path(folder) / (files[0].replace("/", "_"))
        self.path.write_text("\n".join(lines) + "\n")

    def translate(self, text):
        """Places in the batch as places in its files."""
        def place(match):
            line = int(match.group(1)) - 1
            number = max(i for i, begin in enumerate(self.begins) if begin <= line)
            return f"{self.files[number]}:{line - self.begins[number] + 1}"
        return re.sub(re.escape(str(self.path)) + r":(\d+)", place, text)


def lint_tidy(arguments):
    options = compile_options(arguments.build)
    tidy = tool("clang-tidy")
    config = (ROOT / ".clang-tidy").read_text()
    groups = {}  # files of one folder with the same options
    for name in tracked(*(f"{folder}/*.cpp" for folder in arguments.folders)):
        if name not in options:
            sys.exit(f"{name} is not part of the build in {arguments.build}: build it, then lint.")
        # the options, not the database: GCC's precompiled header means nothing to clang
        usable = tuple(option for option in options[name] if option != "-fpch-preprocess")
        groups.setdefault((name.split("/")[1], usable), []).append(name)
    changed = changed_files()
    jobs = []
    with tempfile.TemporaryDirectory() as folder:
        for (_, usable), names in groups.items():
            for begin in range(0, len(names), TIDY_BATCH):
                batch = Batch(names[begin:begin + TIDY_BATCH], folder)
                files = set()
                for name in batch.files:
                    own_files(name, files)
                command = [tidy, "--quiet", f"--config-file={ROOT / '.clang-tidy'}", str(batch.path), "--", *usable]
                key = digest(batch.files, tidy, config, *usable)
                jobs.append((not changed & set(batch.files), not changed & files, " ".join(batch.files),
                             (key, command, batch.translate)))
        return check({name: job for *_, name, job in sorted(jobs, key=lambda job: job[:3])}, arguments.seconds)


ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|Fig|Eq|Sec|No|approx|resp|St)|\b[A-Z]|^\s*(?:[-*]\s+)?\d+)\.$")
SENTENCE_END = re.compile(r"[.!?][)\]\"'*_`]*(?=\s+[\"'(\[*_`]*[A-Z])")


def prose_faults(name, text):
    """(line, fault) of a Markdown page."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if fenced or line.lstrip().startswith(("|", "<!--")) or line.startswith("    "):
            continue
        if len(line) > LONGEST_LINE and not re.search(r"\]\(|https?://", line):
            yield number, f"{len(line)} characters; at most {LONGEST_LINE}"
        words = re.sub(r"`[^`]*`", lambda code: "x" * len(code.group()), line)
        for end in SENTENCE_END.finditer(words):
            if not ABBREVIATION.search(words[:end.start() + 1]):
                yield number, f"a new sentence begins a new line: '{line[end.end():].strip()[:40]}...'"


def comment_faults(name, text):
    """(line, fault) of a source file."""
    mark = re.compile(r"(?:^|\s)#(?:\s|$)" if name.endswith((".py", ".sh", ".txt")) else r"(?:^|\s)//")
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LONGEST_LINE and mark.search(line):
            yield number, f"a line with a comment has {len(line)} characters; at most {LONGEST_LINE}"


def lint_prose(_):
    clean = True
    pages = tracked("README.md", "docs/*.md")
    sources = tracked(*(f"{top}/*{suffix}" for top in ("src", "tests") for suffix in (".h", ".cpp", ".cu", ".py", ".sh", ".txt")))
    for names, faults in ((pages, prose_faults), (sources, comment_faults)):
        for name in names:
            for number, fault in faults(name, (ROOT / name).read_text()):
                print(f"{name}:{number}: {fault}")
                clean = False
    return clean


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=["format", "headers", "prose", "tidy"])
    parser.add_argument("--build", default="build/ci", help="folder with compile_commands.json (default: build/ci)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="headers, tidy: begin nothing after this time")
    parser.add_argument("folders", nargs="*", default=["src"], help="tidy: look below these folders (default: src)")
    arguments = parser.parse_args()
    clean = {"format": lint_format, "headers": lint_headers, "prose": lint_prose, "tidy": lint_tidy}[arguments.check](arguments)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
