# shellcheck shell=bash
# shellcheck disable=SC2154 # $expected (digest of the undisturbed run) is the caller's
# The grid that the tests of clusters run. Sourced behind jobs.sh, with PROGRAM and WORK set.

cat >"$WORK/grid.cfg" <<'JOB'
zoo = tiny
experts = 2
device = cpu
[individual]
[simple_average]
[task_arithmetic]
scale = 0.2 0.3
[ties]
JOB
CELLS=10

# expect_same RESULTS: complete, each cell recorded once, with the metrics of the undisturbed run
expect_same() {
  local digest
  digest=$(metrics_digest "$1")
  [ "$digest" = "$expected" ] ||
    fail "$1: /metrics '$digest', undisturbed $expected ($(tail -n 20 "$1.log" "$1"*.out 2>/dev/null))"
  "$PROGRAM" verify "$1" | grep -q "^journal: $CELLS results ($CELLS valid" || fail "$("$PROGRAM" verify "$1")"
}
