#!/usr/bin/env bash
# A Slurm with two nodes, from the packages munge, slurmctld, slurmd and slurm-client: what `fusegrid sbatch` writes is
# signalled before its time limit, requeued and ends with the metrics of an undisturbed run; scancel loses nothing; an
# array on one results folder is refused; srun with PMIx, and without. Skipped (77) where namespaces cannot be made or a
# package is missing. Usage: slurm_test.sh PROGRAM SOURCE FAULTY_FILES
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=tests/cluster/hosts.sh
source "$here/hosts.sh"
for program in munged slurmctld slurmd sbatch; do
  command -v $program >/dev/null || skip "there is no '$program' (packages munge, slurmctld, slurmd, slurm-client)"
done
enter_cluster "$0" "$@"
PROGRAM=$1 SOURCE=$2 FAULTY_FILES=$3
WORK=$(mktemp -d)
trap 'rm -rf "$WORK" 2>/dev/null || true' EXIT
# shellcheck source=tests/fault/jobs.sh
source "$here/../fault/jobs.sh"
# shellcheck source=tests/cluster/grid.sh
source "$here/grid.sh"
# shellcheck source=tests/cluster/slurm.sh
source "$here/slurm.sh"

# submit RESULTS [options of sbatch]: what the program writes, one worker on each node; prints the job's number
submit() {
  local results=$1
  shift
  # Slurm signals up to a minute early: with a notice of a second, half a minute after the start or later.
  on a "$PROGRAM" sbatch "$WORK/grid.cfg" --nodes 2 --workers-per-node 1 --time 1 --notice 1 --results "$results" \
    >"$results.sbatch"
  on a sbatch --parsable --output="$results-%a.out" "$@" "$results.sbatch"
}

# held RESULTS [options]: the same; its coordinator stops at a write of its journal until RESULTS.held.go is there
held() { FUSEGRID_TEST_FAULT="hold write 9 $1/journal $1.held" LD_PRELOAD=$FAULTY_FILES submit "$@"; }

# Its coordinator stands still until the signal has come.
begin_time_limit() {
  out=$WORK/limited-4294967294.out # Slurm's %a of a job that is no array
  limited=$(held "$WORK/limited")
  submitted=$SECONDS
  { until grep -q 'Forwarding signal 10' "$out" 2>/dev/null; do sleep 0.2; done && touch "$WORK/limited.held.go"; } &
}
end_time_limit() {
  limited_is_over() { job_is "$limited" COMPLETED || job_is "$limited" FAILED || job_is "$limited" TIMEOUT; }
  wait_for test -e "$WORK/limited.held.go"
  wait_for limited_is_over
  job_is "$limited" COMPLETED || fail "time limit: $(of_job "$limited" JobState) ($(cat "$out"))"
  [ "$(of_job "$limited" Restarts)" -eq 1 ] || fail "it was requeued $(of_job "$limited" Restarts) times"
  grep -q 'stopping on User defined signal 1' "$out" || fail "no signal: $(cat "$out")"
  local again
  again=$(sed -n 's/.*cells* to run, \([0-9]*\) recorded.*/\1/p' "$out" | tail -n 1)
  [ "$again" -gt 0 ] || fail "it began anew: $(cat "$out")"
  expect_same "$WORK/limited"
  echo "time limit: signalled, requeued with $again of $CELLS cells recorded, complete $((SECONDS - submitted)) s after it was submitted"
}

cancelled() {
  local results=$WORK/cancelled id before
  id=$(held "$results")
  wait_for test -e "$results.held"
  on a scancel "$id"
  touch "$results.held.go"
  wait_for job_is "$id" CANCELLED
  unlocked() { ! pgrep -f "^$PROGRAM run .*$results" >/dev/null; }
  wait_for unlocked
  before=$(recorded "$results")
  [ "$before" -gt 0 ] || fail "scancel: nothing is recorded"
  launch a:1,b:1 -n 2 "$PROGRAM" run "$WORK/grid.cfg" --results "$results" >"$results-again.out" 2>&1
  grep -q "$((CELLS - before)) cells to run, $before recorded" "$results-again.out" || fail "$(cat "$results-again.out")"
  expect_same "$results"
  echo "scancel: $before of $CELLS cells were recorded, and the same command ran the others"
}

array() {
  local results=$WORK/array id refused
  id=$(held "$results" --array=0-1)
  wait_for test -e "$results.held"
  one_failed() { job_is "${id}_0" FAILED || job_is "${id}_1" FAILED; }
  wait_for one_failed
  job_is "${id}_0" FAILED && refused=0 || refused=1
  touch "$results.held.go"
  [ "$(of_job "${id}_$refused" ExitCode)" = 74:0 ] || fail "array: exit code $(of_job "${id}_$refused" ExitCode)"
  grep -q "one run at a time works on a results folder, but .* is in use by process [0-9]* on host \"a\"" \
    "$results-$refused.out" || fail "array: $(cat "$results-$refused.out")"
  wait_for job_is "${id}_$((1 - refused))" COMPLETED
  expect_same "$results"
  echo "array: element $refused was refused, the other one is complete"
}

launched_by_srun() {
  on a srun --mpi=pmix --nodes=2 -n 3 --kill-on-bad-exit=0 --wait=0 "$PROGRAM" run "$WORK/grid.cfg" \
    --results "$WORK/pmix" >"$WORK/pmix.out" 2>&1 || fail "srun --mpi=pmix: $(cat "$WORK/pmix.out")"
  grep -q 'rank 2 on b, ' "$WORK/pmix.out" || fail "srun --mpi=pmix did not use both nodes: $(cat "$WORK/pmix.out")"
  expect_same "$WORK/pmix"
  ! on a srun --mpi=none --nodes=2 -n 3 "$PROGRAM" run "$WORK/grid.cfg" --results "$WORK/none" >"$WORK/none.out" 2>&1 ||
    fail "srun without PMIx ran"
  grep -q "it started 3 processes and MPI sees one; use .* 'srun --mpi=pmix'" "$WORK/none.out" ||
    fail "srun without PMIx: $(cat "$WORK/none.out")"
  [ ! -e "$WORK/none" ] || fail "srun without PMIx left a results folder behind"
  ! on a srun --mpi=pmi2 --nodes=2 -n 3 "$PROGRAM" run "$WORK/grid.cfg" --results "$WORK/none" >"$WORK/pmi2.out" 2>&1 ||
    fail "srun --mpi=pmi2 ran"
  [ ! -e "$WORK/none" ] || fail "srun --mpi=pmi2 left a results folder behind"
  echo "srun: with PMIx over both nodes; refused with --mpi=none and --mpi=pmi2"
}

make_zoo
make_hosts a b
start_slurm
begin_time_limit
launch a:3 -n 3 "$PROGRAM" run "$WORK/grid.cfg" --results "$WORK/calm" >"$WORK/calm.out" 2>&1
expected=$(metrics_digest "$WORK/calm")
[ -n "$expected" ] || fail "the undisturbed run has no digest"
launched_by_srun
cancelled
array
end_time_limit
