# shellcheck shell=bash
# Shared by the tests that run the whole program: a tiny zoo and a small grid. Sourced with PROGRAM and WORK set.

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
export FUSEGRID_ZOOS=$WORK/zoos FUSEGRID_DATA=$SOURCE/data

# build_zoo FOLDER: the embedded zoo with a few training steps. Its numbers mean nothing, its shape is the real one.
build_zoo() {
  mpirun --oversubscribe -n 3 "$PROGRAM" zoo build embedded --scale small --quiet --device cpu \
    --set expert_steps=8 --set multitask_steps=8 --out "$1"
}

# make_zoo: a zoo of the test's own. CTest has one built once (FUSEGRID_FAULT_ZOO); a test that is run by hand builds
# its own.
make_zoo() {
  if [ -n "${FUSEGRID_FAULT_ZOO:-}" ]; then
    mkdir -p "$FUSEGRID_ZOOS" && cp -r "$FUSEGRID_FAULT_ZOO" "$FUSEGRID_ZOOS/tiny"
  else
    build_zoo "$FUSEGRID_ZOOS/tiny"
  fi
}

write_job() {
  cat >"$WORK/grid.cfg" <<'JOB'
# Does the whole chain give the same bits whatever happens to it?
zoo = tiny
experts = 3
device = cpu
[pretrained]
[individual]
[multitask]
[simple_average]
[task_arithmetic]
scale = 0.2 0.3
[ties]
scale = 0.3
[dare]
drop_rate = 0.5
[fisher]
examples = 32
[regmean]
examples = 32
[emr]
[layer_wise_adamerging]
steps = 3
[simple_ensemble]
JOB
}

# run RANKS RESULTS [options]: the grid; its output goes to RESULTS.log
run_grid() {
  local ranks=$1 results=$2
  shift 2
  mpirun --oversubscribe -n "$ranks" "$PROGRAM" run "$WORK/grid.cfg" --results "$results" --quiet "$@" >>"$results.log" 2>&1
}

metrics_digest() {
  "$PROGRAM" verify "$1" | grep -oE '[0-9a-f]{64}' | head -n 1
}

# recorded RESULTS: the number of valid results that its journal holds
recorded() {
  [ -s "$1/journal" ] || { echo 0 && return; }
  "$PROGRAM" status "$1" | sed -n 's/.*: \([0-9]*\) valid.*/\1/p'
}

# executors_of RESULTS: process numbers, if there are any, of the executors of the grid that writes there; fails if
# there are none
executors_of() { pgrep -f "^$PROGRAM run .*$1" | xargs -r -n 1 pgrep -P; }

has_executors() { [ -n "$(executors_of "$1")" ]; }

# wait_for COMMAND...: until it succeeds, at most a minute
wait_for() {
  for _ in $(seq 1 1200); do
    "$@" && return
    sleep 0.05
  done
  fail "waited for a minute: $*"
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}
