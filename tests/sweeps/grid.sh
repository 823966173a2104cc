# shellcheck shell=bash
# shellcheck disable=SC2154 # $point (what was disturbed) and $expected (digest of the undisturbed run) are the caller's
# Shared by the sweeps: a small grid, and what must hold after each disturbance. Sourced with PROGRAM and SOURCE set.
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# shellcheck source=tests/fault/jobs.sh
source "$(dirname "${BASH_SOURCE[0]}")/../fault/jobs.sh"
make_zoo

cat >"$WORK/grid.cfg" <<'JOB'
zoo = tiny
experts = 2
task = mnist
device = cpu
stall_timeout_s = 5
[individual]
[simple_average]
[ties]
[dare]
JOB
CELLS=4

# goes_on RESULTS COMMAND...: a disturbed run is continued by the same command, keeps what was recorded and ends with
# the metrics of the undisturbed one
goes_on() {
  local results=$1 before status=0 digest
  shift
  before=$(recorded "$results") || fail "$point: the folder cannot be read"
  "$@" --results "$results" >"$results.log" 2>&1 || status=$?
  [ $status -eq 0 ] || fail "$point: the same command ends with $status: $(tail -n 5 "$results.log")"
  grep -q "$((CELLS - before)) cells\? to run, $before recorded" "$results.log" ||
    fail "$point: $before were recorded: $(head -n 3 "$results.log")"
  digest=$(metrics_digest "$results")
  [ "$digest" = "$expected" ] || fail "$point: /metrics $digest instead of $expected"
  [ -z "$(find "$results" -name '*.tmp.*')" ] || fail "$point: temporary files stay: $(find "$results" -name '*.tmp.*')"
}
