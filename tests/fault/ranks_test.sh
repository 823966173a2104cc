#!/usr/bin/env bash
# mpirun -n 1, 2, 3 and 5 give byte-identical /metrics and leaderboards. Usage: ranks_test.sh PROGRAM SOURCE
set -euo pipefail
PROGRAM=$1 SOURCE=$2
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# shellcheck source=tests/fault/jobs.sh
source "$(dirname "$0")/jobs.sh"

make_zoo
write_job
expected=
for ranks in 1 2 3 5; do
  run_grid "$ranks" "$WORK/ranks$ranks" || fail "$ranks ranks: status $? ($(tail -n 5 "$WORK/ranks$ranks.log"))"
  digest=$(metrics_digest "$WORK/ranks$ranks")
  echo "$ranks ranks: /metrics $digest"
  expected=${expected:-$digest}
  if [ -z "$digest" ] || [ "$digest" != "$expected" ]; then
    fail "$ranks ranks gave other metrics than 1 rank"
  fi
  for file in leaderboard.md leaderboard.csv leaderboard.tex settings.csv; do
    cmp "$WORK/ranks1/$file" "$WORK/ranks$ranks/$file" || fail "$file of $ranks ranks differs from that of 1 rank"
  done
done
