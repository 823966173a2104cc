#!/usr/bin/env bash
# Two hosts, as network namespaces: a grid over both, a host that dies or vanishes, a network that comes back, disks
# that one host has alone, a shared file system that is slow or full, clocks that differ. Skipped (77) where namespaces
# cannot be made. Usage: nodes_test.sh PROGRAM SOURCE FAULTY_FILES
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=tests/cluster/hosts.sh
source "$here/hosts.sh"
enter_cluster "$0" "$@"
PROGRAM=$1 SOURCE=$2 FAULTY_FILES=$3
WORK=$(mktemp -d)
trap 'rm -rf "$WORK" 2>/dev/null || true' EXIT # what is mounted in it goes with the namespace
# shellcheck source=tests/fault/jobs.sh
source "$here/../fault/jobs.sh"
# shellcheck source=tests/cluster/grid.sh
source "$here/grid.sh"

# run HOSTS RESULTS [options]: the grid on these hosts; its output goes to RESULTS.log
run() {
  local hosts=$1 results=$2 ranks=0 host
  shift 2
  for host in ${hosts//,/ }; do
    ranks=$((ranks + ${host#*:}))
  done
  launch "$hosts" -n "$ranks" "$PROGRAM" run "$WORK/grid.cfg" --results "$results" "$@" >"$results.log" 2>&1
}

# run_until NUMBER HOSTS RESULTS: begins a run whose coordinator stops at this write of its journal; `let_go RESULTS`
# lets it go on. Leaves its process in $job.
run_until() {
  FUSEGRID_TEST_FAULT="hold write $1 $3/journal $3.held" LD_PRELOAD=$FAULTY_FILES run "$2" "$3" &
  job=$!
  wait_for test -e "$3.held"
}
let_go() { touch "$1.held.go"; }

# run_ends: within a minute; leaves in $status how
run_ends() {
  gone() { ! kill -0 "$job" 2>/dev/null; }
  wait_for gone
  status=0
  wait "$job" || status=$?
}

grid_over_both() {
  run a:2,b:2 "$WORK/both" || fail "two hosts: $(cat "$WORK/both.log")"
  grep -q 'rank 3 on b, ' "$WORK/both.log" || fail "the ranks are not on both hosts: $(cat "$WORK/both.log")"
  expect_same "$WORK/both"
  sed 's/^experts = 2/&\nshards = 2/' "$WORK/grid.cfg" >"$WORK/teams.cfg"
  launch a:2,b:1 -n 3 "$PROGRAM" run "$WORK/teams.cfg" --results "$WORK/teams" --only '/ties' >"$WORK/teams.log" 2>&1 ||
    fail "a merge that two hosts share: $(cat "$WORK/teams.log")"
}

# died HOW RESULTS: host b is gone in the middle; the job ends, and the same command continues on the other host alone.
died() {
  local how=$1 results=$2 before
  run_until 9 a:2,b:2 "$results"
  [ "$how" = dies ] || unplug b # no packet arrives any more, not even the end of a connection
  kill_host b
  let_go "$results"
  SECONDS=0
  run_ends
  [ "$status" -ne 0 ] || fail "the run ended with status 0 although a host was lost"
  before=$(recorded "$results")
  echo "host $how: the job ended with status $status after $SECONDS s, $before of $CELLS cells recorded"
  [ "$before" -gt 0 ] || fail "nothing was recorded"
  plug b
  run a:3 "$results" || fail "one host alone: $(cat "$results.log")"
  grep -q "$((CELLS - before)) cells to run, $before recorded" "$results.log" || fail "it began anew: $(cat "$results.log")"
  expect_same "$results"
}

network_comes_back() {
  run_until 8 a:2,b:2 "$WORK/cut"
  unplug b
  let_go "$WORK/cut"
  sleep 3
  plug b
  run_ends
  [ "$status" -eq 0 ] || fail "three seconds without network: $(cat "$WORK/cut.log")"
  expect_same "$WORK/cut"
}

disk_of_one_host() {
  cp -r "$FUSEGRID_ZOOS/tiny" "$DISKS/a/tiny"
  local status=0
  FUSEGRID_ZOOS=$LOCAL_DISK run a:2,b:2 "$WORK/apart" || status=$?
  [ "$status" -eq 65 ] || fail "a zoo on the disk of one host: status $status"
  grep -q "there is no zoo in .*seen by rank [23] on b" "$WORK/apart.log" ||
    fail "the host without the zoo is not named: $(cat "$WORK/apart.log")"
  cp -r "$FUSEGRID_ZOOS/tiny" "$DISKS/b/tiny" # copies on all hosts, and results on the disk of the coordinator's
  FUSEGRID_ZOOS=$LOCAL_DISK run a:2,b:2 "$WORK/apart" || fail "copies of a zoo: $(cat "$WORK/apart.log")"
  expect_same "$WORK/apart"
  # experts of a merge, each on one host
  "$PROGRAM" synth --out "$WORK/models" --experts 2 --layers 2 --hidden 64 --intermediate 128 --heads 4 --kv-heads 2 \
    --vocab 100 >"$WORK/synth.log"
  local merge=(merge --method 'ties{density=0.5}' --base "$WORK/models/base")
  "$PROGRAM" "${merge[@]}" --expert "$WORK/models/expert-0" --expert "$WORK/models/expert-1" --out "$WORK/merged" \
    >"$WORK/merge.log" 2>&1
  mv "$WORK/models/expert-0" "$DISKS/a/" && mv "$WORK/models/expert-1" "$DISKS/b/"
  launch a:1,b:1 -n 2 "$PROGRAM" "${merge[@]}" --expert "$LOCAL_DISK/expert-0" --expert "$LOCAL_DISK/expert-1" \
    --inputs-are local --out "$WORK/merged-apart" >"$WORK/merge.log" 2>&1 || fail "local experts: $(cat "$WORK/merge.log")"
  cmp "$WORK/merged/model.safetensors" "$WORK/merged-apart/model.safetensors" || fail "local experts give other bits"
}

slow_file_system() {
  FUSEGRID_TEST_FAULT="delay any 0 $WORK/slow/*:$WORK/slow/*/* 50" LD_PRELOAD=$FAULTY_FILES run a:2,b:2 "$WORK/slow" ||
    fail "a slow file system: $(cat "$WORK/slow.log")"
  expect_same "$WORK/slow"
}

full_file_system() {
  local status=0 before
  mkdir "$WORK/full"
  mount -t tmpfs -o size=80k tmpfs "$WORK/full"
  run a:2,b:2 "$WORK/full" || status=$?
  [ "$status" -eq 74 ] || fail "a full file system: status $status ($(cat "$WORK/full.log"))"
  grep -q "$WORK/full.*No space left on device" "$WORK/full.log" || fail "a full file system: $(cat "$WORK/full.log")"
  before=$(recorded "$WORK/full")
  mount -o remount,size=64m "$WORK/full"
  run a:2,b:2 "$WORK/full" || fail "with space again: $(cat "$WORK/full.log")"
  echo "full file system: $before of $CELLS cells were recorded"
  expect_same "$WORK/full"
}

clocks_that_differ() {
  echo "export LD_PRELOAD=$FAULTY_FILES FUSEGRID_TEST_CLOCK=-7200" >"$DISKS/b.sh"
  on b date +%s >"$WORK/date"
  [ $(($(date +%s) - $(cat "$WORK/date"))) -gt 7000 ] || fail "the clock of b is right"
  run a:2,b:2 "$WORK/clocks" || fail "clocks that differ: $(cat "$WORK/clocks.log")"
  expect_same "$WORK/clocks"
  ! grep -q -- ',-[0-9]' "$WORK/clocks/costs.csv" || fail "negative seconds: $(cat "$WORK/clocks/costs.csv")"
  rm "$DISKS/b.sh"
}

make_zoo
make_hosts a b
# A host that vanishes is missed after 12 s, not after 8 minutes.
export OMPI_MCA_oob_tcp_keepalive_time=2 OMPI_MCA_oob_tcp_keepalive_intvl=2 OMPI_MCA_oob_tcp_keepalive_probes=5
run a:3 "$WORK/calm" || fail "the undisturbed run: $(cat "$WORK/calm.log")"
expected=$(metrics_digest "$WORK/calm")
[ -n "$expected" ] || fail "the undisturbed run has no digest"
grid_over_both
died dies "$WORK/died"
died vanishes "$WORK/vanished"
network_comes_back
disk_of_one_host
slow_file_system
full_file_system
clocks_that_differ
echo "two hosts: /metrics $expected in every case"
