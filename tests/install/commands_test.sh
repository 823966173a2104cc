#!/usr/bin/env bash
# usage: commands_test.sh FUSEGRID-SCRIPT PROGRAM
# Which commands of the script install and build, what it answers by itself, and what it hands to the program. Commands
# of this test's own play cmake, apt-get, pip and the program.
set -euo pipefail
script=$1 program=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
root=$scratch/clone played=$scratch/played
mkdir -p "$root/src" "$root/cmake" "$root/tests" "$root/tools" "$played" "$scratch/torch/lib"
cp "$script" "$root/fusegrid"
cp "$(dirname "$script")/CMakePresets.json" "$root"
cp "$(dirname "$script")/tools/requirements-page.txt" "$root/tools"
touch "$root/CMakeLists.txt" "$root/src/a.cpp" "$scratch/torch/lib/libtorch_cpu.so"
unset OMPI_COMM_WORLD_RANK PMIX_RANK PMI_RANK SLURM_PROCID FUSEGRID_COMMAND
export FUSEGRID_CACHE=$scratch/cache FUSEGRID_TORCH_DIR=$scratch/torch FUSEGRID_CUDA=off

for name in apt-get dpkg-query sudo python3 mpirun; do
  printf '#!/bin/sh\necho "%s $*" >>"%s"\n' "$name" "$scratch/asked" >"$played/$name"
done
cat >"$played/cmake" <<END
#!/bin/sh
echo "cmake \$*" >>"$scratch/asked"
case \$1 in
  --version) echo 'cmake version 3.30.0' ;;
  --build)
    for done in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo "[\$done/20] Building something"; done
    [ -z "\$BUILD_FAILS" ] || { echo "FAILED: something"; exit 1; }
    ;;
esac
END
chmod +x "$played"/*
PATH=$played:$PATH

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# expect STATUS PATTERN ASKED COMMAND...: it ends with STATUS, its output matches PATTERN, and it asked others for
# ASKED.
expect() {
  local wanted=$1 pattern=$2 asked=$3 status=0
  shift 3
  : >"$scratch/asked"
  (cd "$root" && "$@") >"$scratch/out" 2>&1 </dev/null || status=$?
  [ "$status" -eq "$wanted" ] || fail "$*: status $status instead of $wanted: $(cat "$scratch/out")"
  grep -qE -- "$pattern" "$scratch/out" || fail "$*: no '$pattern' in: $(cat "$scratch/out")"
  grep -qE -- "$asked" "$scratch/asked" || [ -z "$asked" ] || fail "$*: asked only for: $(cat "$scratch/asked")"
  [ -n "$asked" ] || [ ! -s "$scratch/asked" ] || fail "$*: asked for: $(cat "$scratch/asked")"
}

# The commands that the script knows are those of the program.
commands=$("$program" --help | sed -n '/^Commands:/,/^$/ s/^  \([a-z]*\) .*/\1/p' | tr '\n' ' ')
grep -qF "program_commands=(${commands% })" "$script" || fail "program_commands is not '${commands% }'"

# Nothing is built, installed or downloaded to answer these.
answered_at_once() {
  expect 1 "no command 'lst'; did you mean 'list'\? Known: quickstart" '' ./fusegrid lst
  expect 1 "no command 'quikstart'; did you mean 'quickstart'" '' ./fusegrid quikstart
  expect 1 "no command 'reprot'; did you mean 'report'" '' ./fusegrid reprot results
  expect 1 "no command 'entirely'\. Known: " '' ./fusegrid entirely
  expect 1 "no command 'a b\*'" '' ./fusegrid 'a b*'
  expect 1 "no preset 'relase'\. Known: release, ci, dev, asan" '' ./fusegrid build relase
  expect 1 "takes no argument but --lint, not '--lnt'" '' ./fusegrid setup --lnt
  expect 0 '^usage: ' '' ./fusegrid --help
  expect 1 '^usage: ' '' ./fusegrid
  for word in setup build test quickstart; do
    expect 0 '^usage: ' '' ./fusegrid "$word" --help
    expect 1 "'$word' must run once, not under mpirun" '' env OMPI_COMM_WORLD_RANK=0 ./fusegrid "$word"
    expect 1 '^$' '' env OMPI_COMM_WORLD_RANK=1 sh -c "./fusegrid $word || { status=\$?; echo; exit \$status; }"
  done
}

answered_at_once
for word in --version $commands; do
  expect 1 "the program is not built. Type './fusegrid build'" '' ./fusegrid "$word"
done
expect 0 '^usage: ' '' ./fusegrid help

# build, with its progress where no terminal shows ninja's
expect 0 'building release: 50 % \([0-9]+ s\)' 'cmake --build' ./fusegrid build
[ "$(grep -c ' %' "$scratch/out")" -eq 10 ] || fail "not a line for each ten percent: $(cat "$scratch/out")"
rm "$root/build/release/.built"
expect 1 'FAILED: something' 'cmake --build' env BUILD_FAILS=1 ./fusegrid build
[ ! -e "$root/build/release/.built" ] || fail 'a failed build counts as built'
expect 0 'release is built' 'cmake --build' ./fusegrid build

# The program is handed the arguments and the name by which it was called.
mkdir -p "$root/build/release/src"
cat >"$root/build/release/src/fusegrid" <<'END'
#!/bin/sh
echo "ran [$FUSEGRID_COMMAND] $*"
exit 3
END
chmod +x "$root/build/release/src/fusegrid"
answered_at_once
expect 3 '^ran \[\./fusegrid\] list methods$' '' ./fusegrid list methods
expect 3 '^ran \[\.\./fusegrid\] --version$' '' sh -c 'cd src && ../fusegrid --version'
expect 3 '^ran \[\./fusegrid\] help run$' '' ./fusegrid help run
! grep -q warning "$scratch/out" || fail 'warns of sources that are not newer'
touch -d '+1 hour' "$root/tests/a_test.cpp"
expect 3 '^ran ' '' ./fusegrid list methods
! grep -q warning "$scratch/out" || fail 'tests are no part of the program'
touch -d '+1 hour' "$root/src/a.cpp"
expect 3 "warning: the sources are newer than the program; './fusegrid build' brings it up" '' ./fusegrid run a.cfg
expect 3 '^ran \[\./fusegrid\] run a.cfg$' '' env OMPI_COMM_WORLD_RANK=1 ./fusegrid run a.cfg
! grep -q warning "$scratch/out" || fail 'more ranks than the first warn'
