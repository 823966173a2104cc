#!/usr/bin/env bash
# usage: streams_test.sh PROGRAM SOURCE
# Output that is lost, streams that are closed, and launchers of another MPI.
set -euo pipefail
program=$1 source=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
mkdir jobs
cp "$source/jobs/quickstart.cfg" jobs
unset OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE PMIX_RANK PMI_RANK PMI_SIZE SLURM_PROCID SLURM_STEP_NUM_TASKS
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# expect STATUS PATTERN COMMAND...: it ends with STATUS, and its errors match PATTERN.
expect() {
  local wanted=$1 pattern=$2 status=0
  shift 2
  "$@" 2>err || status=$?
  [ "$status" -eq "$wanted" ] || fail "$*: status $status instead of $wanted: $(cat err)"
  grep -qE -- "$pattern" err || fail "$*: no '$pattern' in: $(cat err)"
}

lost='the output must be written, but the standard output takes no more'
full() { "$@" >/dev/full; }
closed() { "$@" >&-; }
for arguments in --version --help 'list methods' 'list jobs' 'describe ties' 'zoo --help' 'run --help' 'merge --help' \
  'synth --dry-run' 'docs --help' 'report --help' 'status --help' 'verify --help' 'cells --help'; do
  # shellcheck disable=SC2086  # the words of a command line
  {
    expect 74 "$lost" full "$program" $arguments
    expect 74 "$lost" closed "$program" $arguments
  }
done
expect 1 'no command' full "$program" lst  # the first error is the one that counts
"$program" --version 2>&- >out
[ -s out ] || fail "a closed stderr spoils stdout"
if "$program" lst 2>&-; then fail "a closed stderr hides an error"; fi

# A number that a closed stream leaves must not become that of a file which is written.
"$program" synth --out models --experts 1 --layers 1 --hidden 64 --intermediate 64 --heads 2 --kv-heads 2 --vocab 64 >out
expect 74 "$lost" closed "$program" synth --out closed --experts 1 --layers 1 --hidden 64 --intermediate 64 --heads 2 \
  --kv-heads 2 --vocab 64
diff -r models closed

launched() { env "$@" "$program" run jobs/quickstart.cfg; }
other='the launcher must belong to the MPI of this program'
expect 1 "$other.*started 4" launched SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=4
expect 1 '^$' sh -c "SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=4 '$program' run jobs/quickstart.cfg || { status=\$?; echo >&2; exit \$status; }"
expect 1 "$other.*started 2 or more" launched SLURM_PROCID=1
expect 2 'no zoo' launched SLURM_PROCID=0 SLURM_NTASKS=4  # a batch script's own process
expect 2 'no zoo' launched SLURM_PROCID=nonsense
[ ! -e results ] || fail 'something was started'
