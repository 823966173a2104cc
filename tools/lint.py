#!/usr/bin/env python3
"""usage: tools/lint.py format|headers|tidy [--build FOLDER] [FOLDER...]

format   clang-format 14 would change nothing in any tracked .h or .cpp
headers  every header of src/ compiles alone
tidy     clang-tidy 14 with .clang-tidy finds nothing in the sources of src/

A verdict "clean" is remembered in the cache folder under a digest of the tool, its options, the file and the headers of
ours that it includes, directly or not; so only what a change touches is looked at again. clang-tidy takes about 20 s of
one core for a file that includes ATen: FOLDERs bound a run of it to the sources below them (default: src).
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


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


def own_files(name, seen):
    """The file and every header of src/ and tests/ it includes, directly or not."""
    if name in seen:
        return
    seen.add(name)
    for header in INCLUDE.findall((ROOT / name).read_text()):
        for folder in ("src", "tests"):
            if (ROOT / folder / header).is_file():
                own_files(f"{folder}/{header}", seen)


def digest(name, *settings):
    files = set()
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
        if path.is_relative_to(ROOT):
            options[str(path.relative_to(ROOT))] = keep
    return options


def options_of_header(name, options):
    """Those of a source of the same folder; a folder of headers only takes the first source's."""
    folder = name.rsplit("/", 1)[0]
    for source in sorted(options):
        if source.startswith(f"{folder}/"):
            return options[source]
    return options[min(options)]


def check(jobs):
    """Runs {name: (key, command)} in parallel, skipping remembered verdicts. Returns whether all are clean."""
    cache = cache_folder()
    todo = sorted(name for name, (key, _) in jobs.items() if not (cache / key).exists())
    print(f"{len(jobs)} files: {len(jobs) - len(todo)} known to be clean, {len(todo)} to check", flush=True)

    def run(name):
        key, command = jobs[name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            (cache / key).touch()
            return True
        print(f"--- {name}\n{done.stdout}{done.stderr if not done.stdout else ''}", flush=True)
        return False

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return all(list(pool.map(run, todo)))


def lint_format(_):
    return subprocess.run([tool("clang-format"), "--dry-run", "-Werror", *tracked("*.h", "*.cpp")], cwd=ROOT).returncode == 0


def lint_headers(arguments):
    options = compile_options(arguments.build)
    version = subprocess.run(["c++", "--version"], capture_output=True, text=True).stdout
    jobs = {}
    for name in tracked("src/*.h"):
        command = ["c++", *options_of_header(name, options), "-fsyntax-only", "-include", name,
                   "-x", "c++", "/dev/null"]
        jobs[name] = (digest(name, version, *command), command)
    return check(jobs)


def lint_tidy(arguments):
    options = compile_options(arguments.build)
    tidy = tool("clang-tidy")
    config = (ROOT / ".clang-tidy").read_text()
    jobs = {}
    for name in tracked(*(f"{folder}/*.cpp" for folder in arguments.folders)):
        if name not in options:
            sys.exit(f"{name} is not part of the build in {arguments.build}: build it, then lint.")
        # the options, not the database: GCC's precompiled header means nothing to clang
        usable = [option for option in options[name] if option != "-fpch-preprocess"]
        jobs[name] = (digest(name, tidy, config, *usable), [tidy, "--quiet", name, "--", *usable])
    return check(jobs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=["format", "headers", "tidy"])
    parser.add_argument("--build", default="build/ci", help="folder with compile_commands.json (default: build/ci)")
    parser.add_argument("folders", nargs="*", default=["src"], help="tidy: look below these folders (default: src)")
    arguments = parser.parse_args()
    clean = {"format": lint_format, "headers": lint_headers, "tidy": lint_tidy}[arguments.check](arguments)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
