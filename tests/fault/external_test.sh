#!/usr/bin/env bash
# A merging method in Python as a row of a grid: beside the same method of the program, with executors killed while it
# runs, and stopped and continued. Skipped (77) where the packages of tools/requirements-data.txt are not installed.
# Usage: external_test.sh PROGRAM SOURCE
set -euo pipefail
PROGRAM=$1 SOURCE=$2
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# shellcheck source=tests/fault/jobs.sh
source "$(dirname "$0")/jobs.sh"
"$SOURCE/tools/data_python" --ready || exit 77

make_zoo
cat >"$WORK/grid.cfg" <<JOB
zoo = tiny
experts = 3
device = cpu
stall_timeout_s = 5
[simple_average]
[external:average]
command = $SOURCE/tools/data_python "$SOURCE/examples/average.py" {request}
JOB
run_grid 3 "$WORK/calm" || fail "the undisturbed run ended with status $? ($(tail -n 5 "$WORK/calm.log"))"
expected=$(metrics_digest "$WORK/calm")
scores() { grep -E "^\| $1 +\|" "$WORK/calm/leaderboard.md" | head -n 1 | cut -d '|' -f 3-6; }
[ -n "$(scores average)" ] || fail "no row: $(cat "$WORK/calm/leaderboard.md")"
[ "$(scores average | tr -d ' *†')" = "$(scores 'Simple Average' | tr -d ' *†')" ] ||
  fail "average: $(scores average), Simple Average: $(scores 'Simple Average')"

# A command that works longer than stall_timeout_s, whose executor is killed meanwhile.
cat >"$WORK/slow.sh" <<'SCRIPT'
sleep 8 & echo $! >>"$PIDS"; wait $!
exec "$@"
SCRIPT
export PIDS=$WORK/pids
touch "$PIDS"
started() { [ "$(wc -l <"$PIDS")" -ge "$1" ]; }
sed -i "s|^command = |command = sh $WORK/slow.sh |" "$WORK/grid.cfg"
run_grid 2 "$WORK/chaos" &
job=$!
wait_for started 1
mapfile -t victims < <(executors_of "$WORK/chaos" || true) # rank 0 has none
kill -KILL "${victims[@]}"
first=$(head -n 1 "$PIDS")
gone() { [ ! -e "/proc/$first" ] || grep -q '^State:.Z' "/proc/$first/status"; }
wait_for gone
status=0
wait $job || status=$?
[ "$status" -eq 0 ] || fail "the disturbed run ended with status $status ($(tail -n 5 "$WORK/chaos.log"))"
[ "$(wc -l <"$PIDS")" -eq 2 ] || fail "the command ran $(wc -l <"$PIDS") times, not once and once again"
[ "$(metrics_digest "$WORK/chaos")" = "$expected" ] || fail "other metrics than the undisturbed run"
[ ! -e "$WORK/chaos/external" ] || fail "the model of the command is still there"

# A run that is stopped, and goes on.
run_grid 2 "$WORK/stopped" &
job=$!
wait_for started 3
kill -TERM "$(pgrep -P $job)" # mpirun
status=0
wait $job || status=$?
[ "$status" -ne 0 ] || fail "the run was not stopped"
run_grid 2 "$WORK/stopped" || fail "it did not go on: status $? ($(tail -n 5 "$WORK/stopped.log"))"
[ "$(metrics_digest "$WORK/stopped")" = "$expected" ] || fail "other metrics after a stop"
[ ! -e "$WORK/stopped/external" ] || fail "the model of the stopped command is still there"
