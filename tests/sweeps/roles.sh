#!/usr/bin/env bash
# Each role of an MPI run (mpirun, coordinator, worker, executor, all of them) is killed at each stage of it; the run
# then ends by itself, leaves no process behind, and the same command continues.
# Usage: roles.sh PROGRAM SOURCE FAULTY_FILES [MOST-STAGES [ROLE:SIGNAL...]]
set -euo pipefail
PROGRAM=$1 SOURCE=$2 FAULTY_FILES=$3 MOST=${4:-100}
attacks=("${@:5}")
# shellcheck source=tests/sweeps/grid.sh
source "$(dirname "$0")/grid.sh"

run=(mpirun --oversubscribe -n 3 "$PROGRAM" run "$WORK/grid.cfg")
"${run[@]}" --results "$WORK/calm" >"$WORK/calm.log" 2>&1
expected=$(metrics_digest "$WORK/calm")

# Where a process stands still until the victim is dead: NAME|CALL NUMBER FILE, as faulty_files.cpp has them.
stages=(
  "a worker's MPI starts|open 0 /dev/shm/vader_segment*"
  "the folder is locked|open 0 $WORK/results/lock"
  "the launch is written|write 0 $WORK/results/journal"
  "the launch is synced|sync 0 $WORK/results/journal"
  "a model is read|open 0 $WORK/zoos/tiny/seed-0/*/*/model.safetensors"
  "the examples are read|open 0 $SOURCE/data/embedded.h5"
  "the first result is written|write 4 $WORK/results/journal"
  "the first result is synced, not acknowledged|sync 1 $WORK/results/journal"
  "a later result is written|write 6 $WORK/results/journal"
  "results.h5 is written|write 0 $WORK/results/results.h5.tmp.*"
  "results.h5 is renamed|rename 0 $WORK/results/results.h5"
  "the run is closed|write 9 $WORK/results/journal"
  "the report is written|rename 0 $WORK/results/leaderboard.md"
)

ranks() { pgrep -f "^$PROGRAM run .*$WORK/results"; }
rank() { ranks | while read -r id; do tr '\0' '\n' <"/proc/$id/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$id"; done; }
victims() {
  case $1 in
    mpirun) pgrep -f "^mpirun .*$WORK/results" ;;
    coordinator) rank 0 ;;
    worker) rank 1 ;;
    executor) executors_of "$WORK/results" | head -n 1 ;;
    everything) pgrep -f "$PROGRAM (run|executor).*$WORK/results"; executors_of "$WORK/results" ;;
  esac
}

# strike ROLE SIGNAL STAGE: counts in $struck or, where nobody has that role at that stage, in $absent
strike() {
  local role=$1 signal=$2 name=${3%%|*} what=${3##*|} status=0 targets
  point="$role, $signal, while ${name}"
  rm -rf "$WORK/results" "$WORK/held" "$WORK/held.go"
  # shellcheck disable=SC2086 # of words
  FUSEGRID_TEST_FAULT="hold $what $WORK/held" LD_PRELOAD=$FAULTY_FILES "${run[@]}" --results "$WORK/results" \
    >"$WORK/disturbed.log" 2>&1 &
  job=$!
  reached() { [ -e "$WORK/held" ] || ! kill -0 "$job" 2>/dev/null; }
  wait_for reached
  [ -e "$WORK/held" ] || fail "$point: the run passed it by: $(tail -n 5 "$WORK/disturbed.log")"
  mapfile -t targets < <(victims "$role" || true)
  if [ ${#targets[@]} -eq 0 ]; then
    absent=$((absent + 1))
  else
    struck=$((struck + 1))
    kill "-$signal" "${targets[@]}" 2>/dev/null || true
  fi
  touch "$WORK/held.go"
  ended() { ! kill -0 "$job" 2>/dev/null; }
  wait_for ended
  wait "$job" || status=$?
  all_gone() { [ -z "$(ranks)" ] && ! pgrep -f "$WORK/results" >/dev/null; }
  wait_for all_gone
  case $role in
    executor) [ $status -eq 0 ] || fail "$point: status $status: $(tail -n 5 "$WORK/disturbed.log")" ;;
  esac
  statuses[$status]=1
  goes_on "$WORK/results" "${run[@]}"
}

declare -A statuses=()
[ ${#attacks[@]} -gt 0 ] || attacks=(mpirun:KILL mpirun:TERM coordinator:KILL worker:KILL worker:SEGV executor:KILL
  executor:STOP everything:KILL)
for attack in "${attacks[@]}"; do
  struck=0 absent=0 statuses=()
  for stage in "${stages[@]:0:$MOST}"; do
    strike "${attack%%:*}" "${attack##*:}" "$stage"
  done
  echo "${attack/:/, }: struck at $struck of $((struck + absent)) stages (nobody there at $absent), status" \
    "$(printf '%s\n' "${!statuses[@]}" | sort -n | paste -sd ' '); all continued with the metrics of an undisturbed run"
done
