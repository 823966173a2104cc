#!/usr/bin/env bash
# Tasks that commands answer, beside those of the zoo: the worked examples, with an executor killed while one runs, and
# a run that is stopped and goes on. Skipped (77) where the packages of tools/requirements-data.txt are not installed.
# Usage: evaluators_test.sh PROGRAM SOURCE
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
experts = 2
device = cpu
stall_timeout_s = 5
[individual]
[simple_average]
[task_arithmetic]
scale = 0.2 0.3
[task:neighbours]
command = $SOURCE/tools/data_python "$SOURCE/examples/evaluate.py" {request}
metric = accuracy
[task:questions]
command = python3 $SOURCE/examples/lm_eval.py {request} --lm-eval $SOURCE/tests/tools/lm_eval_stand_in.py --task toy_gen --val-task toy_mc --metric exact_match,flexible-extract
metric = accuracy
JOB
run_grid 3 "$WORK/calm" || fail "the undisturbed run ended with status $? ($(tail -n 5 "$WORK/calm.log"))"
expected=$(metrics_digest "$WORK/calm")
board=$(cat "$WORK/calm/leaderboard.md")
for text in '| neighbours |' '| questions |' 'Unseen tasks, which no merged expert owns: neighbours, questions'; do
  [[ $board == *"$text"* ]] || fail "no '$text': $board"
done
[[ $board != *"No intervals"* ]] || fail "no intervals: $board"
[ ! -e "$WORK/calm/external" ] || fail "the models of the commands are still there"

# One that works longer than stall_timeout_s, whose executor is killed meanwhile.
cat >"$WORK/slow.sh" <<'SCRIPT'
echo "$1" >>"$ASKED"
if mkdir "$ASKED.once" 2>/dev/null; then sleep 60 & echo $! >"$ASKED.pid"; wait $!; fi
shift
exec "$@"
SCRIPT
export ASKED=$WORK/asked
touch "$ASKED"
sed -i "s|^command = \(.*evaluate.py\)|command = sh $WORK/slow.sh {request} \1|" "$WORK/grid.cfg"
run_grid 2 "$WORK/chaos" &
job=$!
hangs() { [ -s "$ASKED.pid" ]; }
wait_for hangs
mapfile -t victims < <(executors_of "$WORK/chaos" || true) # rank 0 has none
kill -KILL "${victims[@]}"
child=$(cat "$ASKED.pid")
gone() { [ ! -e "/proc/$child" ] || grep -q '^State:.Z' "/proc/$child/status"; }
wait_for gone
status=0
wait $job || status=$?
[ "$status" -eq 0 ] || fail "the disturbed run ended with status $status ($(tail -n 5 "$WORK/chaos.log"))"
[ "$(wc -l <"$ASKED")" -eq 4 ] || fail "the command ran $(wc -l <"$ASKED") times, not once for 3 merges and once again"
[ "$(metrics_digest "$WORK/chaos")" = "$expected" ] || fail "other metrics than the undisturbed run"

# A run that is stopped, and goes on.
rm -r "$ASKED" "$ASKED.once" "$ASKED.pid"
touch "$ASKED"
run_grid 2 "$WORK/stopped" &
job=$!
wait_for hangs
kill -TERM "$(pgrep -P $job)" # mpirun
status=0
wait $job || status=$?
[ "$status" -ne 0 ] || fail "the run was not stopped"
run_grid 2 "$WORK/stopped" || fail "it did not go on: status $? ($(tail -n 5 "$WORK/stopped.log"))"
[ "$(metrics_digest "$WORK/stopped")" = "$expected" ] || fail "other metrics after a stop"
[ "$(wc -l <"$ASKED")" -eq 4 ] || fail "the command ran $(wc -l <"$ASKED") times, though what is recorded is not asked again"
[ ! -e "$WORK/stopped/external" ] || fail "the models of the stopped run are still there"
