#!/usr/bin/env bash
# `fusegrid run` is killed before every operation on a file of its results folder (writes, truncations, syncs, renames),
# half-way through every write, and finds the disk full from every one of them on; then the same command continues.
# Usage: writes.sh PROGRAM SOURCE FAULTY_FILES [MOST-POINTS [FIRST [ACTION...]]]
set -euo pipefail
PROGRAM=$1 SOURCE=$2 FAULTY_FILES=$3 MOST=${4:-1000000} FIRST=${5:-0}
actions=("${@:6}")
# shellcheck source=tests/sweeps/grid.sh
source "$(dirname "$0")/grid.sh"

run=("$PROGRAM" run "$WORK/grid.cfg" --inline)
"${run[@]}" --results "$WORK/calm" >"$WORK/calm.log" 2>&1
expected=$(metrics_digest "$WORK/calm")

# disturbed ACTION CALL NUMBER: one point; leaves in $status how the disturbed run ended
disturbed() {
  rm -rf "$WORK/results"
  status=0
  ( # whose shell says "Killed" of its own accord
    FUSEGRID_TEST_FAULT="$1 $2 $3 $WORK/results/*" LD_PRELOAD=$FAULTY_FILES "${run[@]}" --results "$WORK/results" \
      >"$WORK/disturbed.log" 2>&1
    exit $?
  ) 2>/dev/null || status=$?
}

# sweep ACTION CALL STATUS: until a run has no such operation any more
sweep() {
  local action=$1 call=$2 wanted=$3 number
  for ((number = FIRST; number < FIRST + MOST; ++number)); do
    point="$action $call $number"
    disturbed "$action" "$call" "$number"
    [ "$status" -ne 0 ] || break
    [ "$status" -eq "$wanted" ] || fail "$point: status $status: $(tail -n 5 "$WORK/disturbed.log")"
    if [ "$action" = full ]; then
      grep -q "fusegrid: error: .*$WORK/results.*No space left on device" "$WORK/disturbed.log" ||
        fail "$point: $(tail -n 5 "$WORK/disturbed.log")"
    fi
    goes_on "$WORK/results" "${run[@]}"
  done
  [ "$number" -gt "$FIRST" ] || fail "$action $call: nothing was disturbed"
  echo "$action, $call: $((number - FIRST)) points, all continued with the metrics of an undisturbed run"
}

[ ${#actions[@]} -gt 0 ] || actions=(kill-before kill-halfway full)
for action in "${actions[@]}"; do
  case $action in
    kill-before) sweep kill-before any 137 ;;
    kill-halfway) sweep kill-halfway write 137 ;;
    full) sweep full any 74 ;;
    *) fail "there is no action $action" ;;
  esac
done
