#!/usr/bin/env bash
# Executors, ranks and the whole job are killed at random moments; the same command is run again until it is through.
# The metrics must be those of an undisturbed run. Usage: kill_test.sh PROGRAM SOURCE [SEED]
set -euo pipefail
PROGRAM=$1 SOURCE=$2
RANDOM=${3:-$$}
echo "seed $RANDOM (give it as the third argument to repeat the moments)"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# shellcheck source=tests/fault/jobs.sh
source "$(dirname "$0")/jobs.sh"

# Processes of this test's grid: mpirun, its ranks, or the ranks' executors.
processes() {
  case $1 in
    job) pgrep -f "mpirun .*$WORK/chaos" ;;
    rank) pgrep -f "^$PROGRAM run .*$WORK/chaos" ;;
    executor) executors_of "$WORK/chaos" ;;
  esac
}

kill_one() {
  local victims
  mapfile -t victims < <(processes "$1" || true)
  [ ${#victims[@]} -eq 0 ] && return 1
  kill -KILL "${victims[RANDOM % ${#victims[@]}]}" 2>/dev/null
}

make_zoo
write_job
run_grid 3 "$WORK/calm" || fail "the undisturbed run ended with status $?"
expected=$(metrics_digest "$WORK/calm")

declare -A killed=([job]=0 [rank]=0 [executor]=0)
kinds=(job rank executor)
for launch in $(seq 1 40); do
  run_grid 3 "$WORK/chaos" --max-attempts 50 &
  job=$!
  if [ "$launch" -le 9 ]; then
    for _ in 1 2; do
      sleep "0.$((RANDOM % 8 + 1))"
      kind=${kinds[(launch - 1) % 3]}
      while kill -0 $job 2>/dev/null; do # on a busy machine the processes take a while to be there
        if kill_one "$kind"; then
          killed[$kind]=$((killed[$kind] + 1))
          break
        fi
        sleep 0.1
      done
    done
  fi
  status=0
  wait $job || status=$?
  if [ "$status" -eq 0 ]; then
    break
  fi
done
[ "$status" -eq 0 ] || fail "not through after $launch launches: status $status ($(tail -n 5 "$WORK/chaos.log"))"
digest=$(metrics_digest "$WORK/chaos")
echo "killed: ${killed[executor]} executors, ${killed[rank]} ranks, ${killed[job]} jobs in $launch launches; /metrics $digest"
[ "$digest" = "$expected" ] || fail "metrics differ from the undisturbed run: $expected"
[ $((killed[executor] + killed[rank] + killed[job])) -gt 0 ] || fail "nothing was killed: the grid is too quick for this test"
