#!/usr/bin/env bash
# Merges made by 1, 2 and 3 executors give byte-identical /metrics, also where one of them is killed in the middle of a
# merge. Usage: teams_test.sh PROGRAM SOURCE
set -euo pipefail
PROGRAM=$1 SOURCE=$2
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# shellcheck source=tests/fault/jobs.sh
source "$(dirname "$0")/jobs.sh"

make_zoo
write_job
printf '[tsv_m]\n[magmax]\n' >>"$WORK/grid.cfg"
expected=
for shards in 1 2 3; do
  sed "s/^experts = 3/&\nshards = $shards/" "$WORK/grid.cfg" >"$WORK/shards$shards.cfg"
done

# run SHARDS RESULTS RANKS [options]
run_shards() {
  local shards=$1 results=$2 ranks=$3
  shift 3
  # one method of each grain, and one that merges on a single executor
  set -- --only 'simple_average|ties|tsv_m|magmax|regmean' "$@"
  mpirun --oversubscribe -n "$ranks" "$PROGRAM" run "$WORK/shards$shards.cfg" --results "$results" "$@" >>"$results.log" 2>&1
}

for shards in 1 3; do
  run_shards "$shards" "$WORK/shards$shards" 5 --quiet || fail "shards = $shards: status $? ($(tail -n 5 "$WORK/shards$shards.log"))"
  digest=$(metrics_digest "$WORK/shards$shards")
  echo "shards = $shards: /metrics $digest"
  expected=${expected:-$digest}
  if [ -z "$digest" ] || [ "$digest" != "$expected" ]; then
    fail "shards = $shards gave other metrics than shards = 1"
  fi
done

# An executor comes into being with its first merge. One that is stopped at once cannot finish it, for which both are
# needed.
run_shards 2 "$WORK/killed" 3 &
job=$!
wait_for has_executors "$WORK/killed"
victim=$(executors_of "$WORK/killed" | head -n 1 || true)  # it fails for ranks that have none
kill -STOP "$victim"
both_exist() { [ "$(executors_of "$WORK/killed" | wc -l)" -eq 2 ]; }
wait_for both_exist
kill -KILL "$victim"
wait $job || fail "killed member: status $? ($(tail -n 5 "$WORK/killed.log"))"
grep -q 'will be repeated: .*signal 9 .*attempt 1 of 2, .*in the team of ranks ' "$WORK/killed.log" ||
  fail "no merge lost a member ($(cat "$WORK/killed.log"))"
digest=$(metrics_digest "$WORK/killed")
echo "member killed: /metrics $digest"
[ "$digest" = "$expected" ] || fail "metrics differ where a member was killed"

status=0
"$PROGRAM" run "$WORK/shards3.cfg" --results "$WORK/refused" >"$WORK/refused.log" 2>&1 || status=$?
if [ "$status" -ne 2 ] || [ -e "$WORK/refused" ] ||
  ! grep -q "'shards' must be at most the number of workers" "$WORK/refused.log"; then
  fail "3 shards on 1 worker: status $status ($(cat "$WORK/refused.log"))"
fi
