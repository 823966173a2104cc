#!/usr/bin/env python3
"""usage: check_layers.py [REPOSITORY]

Checks what the compiler does not: which folder of src/ may include which, that raw MPI, NCCL and HDF5 calls stay in
their rooms, that no process is forked without exec, that no file pays for torch/torch.h, and that methods, metrics and
their tests come in pairs. Prints one line per violation with its remedy; exit status 1 if there is any.
"""

import pathlib
import re
import sys

# The folders of src/ and those each may include, beside itself. docs/architecture.md draws this.
ALLOWED = {
    "core": set(),
    "checkpoint": {"core"},
    "comm": {"core"},
    "store": {"core"},
    "metrics": {"core"},
    "models": {"core", "checkpoint", "store"},
    "tasks": {"core", "metrics", "models", "store"},
    "fusion": {"core", "checkpoint", "comm", "store", "models", "tasks"},
    "methods": {"core", "models", "fusion"},
    "merge": {"core", "checkpoint", "comm", "models", "fusion"},
    "zoo": {"core", "checkpoint", "store", "models", "tasks"},
    "worker": {"core", "checkpoint", "comm", "store", "models", "tasks", "fusion", "merge", "zoo"},
    "coordinator": {"core", "comm", "store", "models", "tasks", "fusion", "zoo", "worker"},
    "report": {"core", "store", "metrics"},
}
ALLOWED["cli"] = set(ALLOWED)
ALLOWED["main.cpp"] = set(ALLOWED)
# The coordinator knows the workers' messages, which executors there are and how much memory they keep, and how to be
# its own worker when it is alone.
WORKER_HEADERS_OF_COORDINATOR = re.compile(r"worker/(protocol|executor|supervisor|memory_shares)\.h")

# Raw calls: what they look like, the only folder that may hold them, what others use instead.
ROOMS = [
    ("MPI", re.compile(r"\bMPI_[A-Z]\w*|[<\"]mpi\.h[>\"]"), "comm", "comm/transport.h or comm/collectives.h"),
    ("NCCL", re.compile(r"\bnccl[A-Z]\w*|[<\"]nccl\.h[>\"]"), "comm", "comm/collectives.h"),
    ("HDF5", re.compile(r"\bH5[A-Z]{1,2}[a-z_]\w*|[<\"]hdf5\.h[>\"]"), "store", "a header of store/"),
]
# A process that is forked off an MPI rank or a CUDA process may call nothing but what is async-signal-safe until exec:
# its locks and its device state are halves of its parent's. These files have been read with that in mind.
FORK = re.compile(r"\bv?fork\s*\(")
EXEC = re.compile(r"\bexecv?[el]?p?e?\s*\(")
FORKING_FILES = {"worker/child_process.cpp"}
TORCH_HEADER = re.compile(r"#include\s*[<\"]torch/torch\.h")
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def without_comments(text):
    """Blanks comments and string literals, but keeps the names in #include lines and every line number."""
    def blank(match):
        if match.group().startswith('"') and text.rfind("#include", text.rfind("\n", 0, match.start()) + 1,
                                                        match.start()) >= 0:
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())
    return COMMENT_OR_STRING.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def check_file(root, path):
    relative = path.relative_to(root / "src")
    folder = relative.parts[0]
    if folder not in ALLOWED:
        yield f"src/{relative}: folder '{folder}' is unknown; add it with its arrows to ALLOWED in check_layers.py"
        return
    code = without_comments(path.read_text())
    for include in INCLUDE.finditer(code):
        where = f"src/{relative}:{line_of(code, include.start(1))}"
        header = include.group(1)
        target = header.split("/")[0]
        if not (root / "src" / header).is_file():
            yield f'{where}: "{header}" is not a file of src/; include ours as "folder/name.h", others in <>'
        elif target != folder and target not in ALLOWED[folder]:
            allowed = ", ".join(sorted(ALLOWED[folder])) or "nothing"
            yield f"{where}: {folder} must not include {target} (it may include: {allowed})"
        elif folder == "coordinator" and target == "worker" and not WORKER_HEADERS_OF_COORDINATOR.fullmatch(header):
            yield f"{where}: of worker/, the coordinator may include protocol.h, executor.h, supervisor.h and memory_shares.h only, not {header}"
    for name, pattern, room, instead in ROOMS:
        call = pattern.search(code)
        if folder != room and call:
            yield f"src/{relative}:{line_of(code, call.start())}: raw {name} ({call.group()}) belongs into src/{room}; use {instead}"
    fork = FORK.search(code)
    if fork and not (relative.as_posix() in FORKING_FILES and EXEC.search(code)):
        yield (f"src/{relative}:{line_of(code, fork.start())}: fork() without exec in a process that may be an MPI rank; "
               "use posix_spawn() as store/guarded_reader.cpp does")
    torch = TORCH_HEADER.search(code)
    if torch:
        yield f"src/{relative}:{line_of(code, torch.start())}: torch/torch.h costs 20 s per file; include single ATen headers"


def check_entries(root):
    for header in sorted((root / "src/methods").glob("*.h")):
        yield f"src/methods/{header.name}: a method is one .cpp that registers itself; shared mathematics goes to src/fusion"
    for folder in ("methods", "metrics/rules"):
        entries = {path.stem for path in (root / "src" / folder).glob("*.cpp")}
        tests = {path.stem.removesuffix("_test") for path in (root / "tests" / folder).glob("*_test.cpp")}
        for stem in sorted(entries - tests):
            yield f"src/{folder}/{stem}.cpp has no test: write tests/{folder}/{stem}_test.cpp"


def violations(root):
    sources = sorted(path for path in (root / "src").rglob("*") if path.suffix in {".h", ".cpp"})
    if not sources:
        yield f"{root}/src holds no sources; the argument must be the top of the repository"
    for path in sources:
        yield from check_file(root, path)
    yield from check_entries(root)


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]).resolve()
    found = list(violations(root))
    for violation in found:
        print(violation)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
