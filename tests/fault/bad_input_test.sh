#!/usr/bin/env bash
# What a user gets wrong, through the whole program: each mistake gives one clear message and the right exit status
# before anything runs, and nothing that was recorded is lost. Usage: bad_input_test.sh PROGRAM SOURCE
set -euo pipefail
PROGRAM=$1 SOURCE=$2
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# shellcheck source=tests/fault/jobs.sh
source "$(dirname "$0")/jobs.sh"
cases=0

# expect STATUS PATTERN COMMAND...: the command ends with STATUS, and one line on stderr matches PATTERN.
expect() {
  local status=0 wanted=$1 pattern=$2
  shift 2
  "$@" >"$WORK/out" 2>"$WORK/err" || status=$?
  [ "$status" -eq "$wanted" ] || fail "$*: status $status instead of $wanted: $(cat "$WORK/err")"
  grep -qE -- "$pattern" "$WORK/err" || fail "$*: no line like '$pattern' in: $(cat "$WORK/err")"
  cases=$((cases + 1))
}

# job NAME LINE...: a job file of these lines
job() {
  local name=$1
  shift
  printf '%s\n' "$@" >"$WORK/$name.cfg"
}

# refused STATUS PATTERN JOB: the job starts nothing
refused() {
  expect "$1" "$2" "$PROGRAM" run "$WORK/$3.cfg" --results "$WORK/never" --quiet
  [ ! -e "$WORK/never" ] || fail "$3 left a results folder behind"
}

wrong_job_files() {
  job method 'zoo = tiny' '[tiess]' && refused 2 "no fusion method 'tiess'; did you mean 'ties'" method
  job parameter 'zoo = tiny' '[ties]' 'densty = 0.2' && refused 2 "densty.*did you mean 'density'" parameter
  job range 'zoo = tiny' '[ties]' 'density = 1.5' && refused 2 'density.*1\.5' range
  job key 'zoo = tiny' 'tasks = mnist' '[ties]' && refused 2 "tasks.*did you mean 'task'" key
  job task 'zoo = tiny' 'task = mnsit' '[ties]' && refused 2 "mnsit.*did you mean 'mnist'" task
  job zoo 'zoo = tinny' '[ties]' && refused 2 "tinny" zoo
  job shift 'zoo = tiny' 'shift = fog@9' '[ties]' && refused 2 'fog' shift
  job experts 'zoo = tiny' 'experts = 9' '[ties]' && refused 2 'must be 1 to 8.*is 9' experts
  job slerp 'zoo = tiny' 'experts = 3' '[slerp]' && refused 2 'slerp.*2' slerp
  job seeds 'zoo = tiny' 'seed = 0..2' '[ties]' && refused 2 'none of seed 1 \(seeds: 0\).*zoo build .*--seeds 1' seeds
  expect 2 "no job file" "$PROGRAM" run "$WORK/nowhere.cfg"
  expect 1 "threads" "$PROGRAM" run "$WORK/grid.cfg" --threads 0 --results "$WORK/never"
  expect 1 "finds none" "$PROGRAM" run "$WORK/grid.cfg" --only 'no-such-cell' --results "$WORK/never"
  # every rank of an MPI job ends, with the message once
  expect 2 "tiess" mpirun --oversubscribe -n 3 "$PROGRAM" run "$WORK/method.cfg"
  [ "$(grep -c 'fusegrid: error' "$WORK/err")" -eq 1 ] || fail "the message is not there once: $(cat "$WORK/err")"
}

damaged_zoos() {
  local expert='seed-0/experts/mnist/model.safetensors' name
  for name in missing truncated other nan reshaped poor; do
    cp -r "$FUSEGRID_ZOOS/tiny" "$FUSEGRID_ZOOS/$name"
    job "$name" "zoo = $name" 'experts = 3' '[task_arithmetic]'
  done
  rm -r "$FUSEGRID_ZOOS/missing/seed-0/experts/mnist"
  refused 2 'experts/mnist' missing
  truncate -s -100 "$FUSEGRID_ZOOS/truncated/$expert"
  refused 65 'mnist/model.safetensors' truncated
  cp "$FUSEGRID_ZOOS/tiny/seed-0/experts/fashion/model.safetensors" "$FUSEGRID_ZOOS/other/$expert"
  # found by the worker that reads the weights: no cell's fault, so that the run ends, once
  expect 65 'mnist.*not the one that zoo.json recorded' \
    "$PROGRAM" run "$WORK/other.cfg" --results "$WORK/other" --quiet --max-attempts 1 --only 'mnist@'
  # the last element of the expert's tensors becomes NaN
  printf '\0\0\300\177' | dd of="$FUSEGRID_ZOOS/nan/$expert" bs=1 conv=notrunc status=none \
    seek=$(($(stat -c %s "$FUSEGRID_ZOOS/nan/$expert") - 4))
  "$PROGRAM" status "$WORK/other" | grep -q '0 valid, 0 invalid, 0 failed' || fail "cells were blamed for an exchanged model"
  expect 65 'nan/seed-0/experts/mnist.* must be finite, but element [0-9]+ of .* is nan' \
    "$PROGRAM" run "$WORK/nan.cfg" --results "$WORK/nan" --quiet --max-attempts 1 --only 'mnist@'
  expect 65 "zoo 'tiny' has 1 fault" "$PROGRAM" zoo verify nan
  # bytes of the pack change, and its size and time are put back, after a run has recorded its digest
  cp -r "$FUSEGRID_ZOOS/tiny" "$FUSEGRID_ZOOS/packed" && cp "$SOURCE/data/embedded.h5" "$FUSEGRID_ZOOS/packed/"
  job packed 'zoo = packed' '[simple_average]'
  sleep 2.1 # the digest of a younger file is not recorded
  "$PROGRAM" run "$WORK/packed.cfg" --results "$WORK/recorded" --quiet --only "mnist@" >"$WORK/out"
  [ -e "$FUSEGRID_ZOOS/packed/pack_digest.json" ] || fail "the digest of a pack was not recorded"
  cp -p "$FUSEGRID_ZOOS/packed/embedded.h5" "$WORK/embedded.h5"
  printf 'XXXX' | dd of="$FUSEGRID_ZOOS/packed/embedded.h5" bs=1 seek=9000000 conv=notrunc status=none
  touch -r "$WORK/embedded.h5" "$FUSEGRID_ZOOS/packed/embedded.h5"
  refused 2 'was made with another task pack' packed
  sed -i 's/post_layernorm.bias/post_layernorm.bixs/' "$FUSEGRID_ZOOS/reshaped/$expert"
  refused 2 'post_layernorm.bias is missing' reshaped
  python3 - "$FUSEGRID_ZOOS/poor/zoo.json" <<'PYTHON'
import json, sys
with open(sys.argv[1]) as file:
    zoo = json.load(file)
for replicate in zoo["replicates"]:
    del replicate["multitask"]
with open(sys.argv[1], "w") as file:
    json.dump(zoo, file)
PYTHON
  job poor 'zoo = poor' '[multitask]' && refused 2 'multi-?task' poor
}

# Nobody to do the work: no usable GPU, however many ranks there are.
no_device() {
  export CUDA_VISIBLE_DEVICES=
  expect 69 'device cuda was asked for, but no GPU is visible.*--device cpu' \
    "$PROGRAM" run "$WORK/grid.cfg" --results "$WORK/gpu" --quiet --device cuda
  expect 69 'no GPU is visible' mpirun --oversubscribe -n 3 "$PROGRAM" run "$WORK/grid.cfg" --results "$WORK/gpu" --device cuda
  [ "$(grep -c 'fusegrid: error' "$WORK/err")" -eq 1 ] || fail "the message is not there once: $(cat "$WORK/err")"
  "$PROGRAM" status "$WORK/gpu" | grep -q '0 valid, 0 invalid, 0 failed' || fail "cells ran without a GPU"
  expect 69 'no GPU is visible' "$PROGRAM" zoo build embedded --scale small --device cuda --quiet --out "$WORK/gpu_zoo"
  unset CUDA_VISIBLE_DEVICES
}

damaged_results() {
  local results=$WORK/results digest
  "$PROGRAM" run "$WORK/grid.cfg" --dry-run --results "$results" >"$WORK/out"
  [ ! -e "$results" ] || fail "--dry-run touched the results folder"
  grep -q 'nothing was started' "$WORK/out" || fail "--dry-run says: $(cat "$WORK/out")"
  run_grid 2 "$results" --only '/(pretrained|simple_average)/'
  digest=$(metrics_digest "$results")
  run_grid 5 "$results" --only '/pretrained/.*mnist@' # more ranks than cells, all of them recorded

  cp -r "$results" "$WORK/torn" && truncate -s -7 "$WORK/torn/journal"
  run_grid 2 "$WORK/torn" --only '/(pretrained|simple_average)/' || fail "a torn tail: $(tail -n 3 "$WORK/torn.log")"
  [ "$(metrics_digest "$WORK/torn")" = "$digest" ] || fail "a torn tail changed the metrics"

  cp -r "$results" "$WORK/flipped" && printf 'XXXX' | dd of="$WORK/flipped/journal" bs=1 seek=2000 conv=notrunc status=none
  expect 65 'journal.*damaged at byte' "$PROGRAM" run "$WORK/grid.cfg" --results "$WORK/flipped" --quiet
  expect 65 "journal" "$PROGRAM" verify "$WORK/flipped"

  cp -r "$results" "$WORK/newer"
  python3 - "$WORK/newer/journal" <<'PYTHON'
import struct, sys, zlib
with open(sys.argv[1], "r+b") as file:
    frame = bytearray(file.read(24))
    size = struct.unpack_from("<I", frame, 8)[0]
    struct.pack_into("<H", frame, 6, 99)  # the version
    struct.pack_into("<I", frame, 20, zlib.crc32(frame[4:20] + file.read(size)))
    file.seek(0)
    file.write(frame)
PYTHON
  expect 65 "version" "$PROGRAM" run "$WORK/grid.cfg" --results "$WORK/newer" --quiet

  expect 2 "there is no results folder" "$PROGRAM" status "$WORK/nowhere"
  expect 2 "there is no results folder" "$PROGRAM" report "$WORK/nowhere"
  "$PROGRAM" status "$results" | grep -q '6 valid, 0 invalid, 0 failed' || fail "status: $("$PROGRAM" status "$results")"
  "$PROGRAM" report "$results" | grep -q '| Simple Average' || fail "report without the row"

  # a full disk (here: a limit of the file size), then the same command with space again
  expect 74 "File too large|No space" bash -c "ulimit -f 24; exec '$PROGRAM' run '$WORK/grid.cfg' --results '$WORK/full' --quiet --inline"
  run_grid 2 "$WORK/full" --only '/(pretrained|simple_average)/' || fail "after a full disk: $(tail -n 3 "$WORK/full.log")"
  "$PROGRAM" verify "$WORK/full" >"$WORK/out" || fail "after a full disk: $(cat "$WORK/out")"
}

# The view of a run that is complete: deleted, old, or newer than the journal beside it.
views_of_complete_runs() {
  local results=$WORK/complete digest
  run_grid 2 "$results" --only '/pretrained/'
  cp "$results/results.h5" "$WORK/old.h5" && cp "$results/journal" "$WORK/old.journal"
  run_grid 2 "$results" --only '/(pretrained|simple_average)/'
  digest=$(metrics_digest "$results")
  grep -qa '# Does the whole chain give the same bits' "$results/journal" || fail "the job's text is not in the provenance"
  for view in deleted old; do
    rm "$results/results.h5"
    [ $view = deleted ] || cp "$WORK/old.h5" "$results/results.h5"
    # a complete run needs no worker and no device
    CUDA_VISIBLE_DEVICES='' "$PROGRAM" run "$WORK/grid.cfg" --results "$results" --only '/(pretrained|simple_average)/' --device cuda \
      >"$WORK/out" 2>"$WORK/err" || fail "a complete run whose view is $view: $(cat "$WORK/err")"
    [ "$(metrics_digest "$results")" = "$digest" ] || fail "the $view view did not come back"
  done
  cp -r "$results" "$WORK/back" && cp "$WORK/old.journal" "$WORK/back/journal"
  cp -r "$results" "$WORK/empty" && : >"$WORK/empty/journal"
  for name in back empty; do
    expect 65 'was not published from' "$PROGRAM" run "$WORK/grid.cfg" --results "$WORK/$name" --quiet
    expect 65 'was not published from' "$PROGRAM" status "$WORK/$name"
    expect 65 'was not published from' "$PROGRAM" report "$WORK/$name"
  done
}

# What results rest on: other models under the same names, and results made from other parameters.
mixed_results() {
  local results=$WORK/mixed
  run_grid 2 "$results" --only '/pretrained/'
  mv "$FUSEGRID_ZOOS/tiny" "$FUSEGRID_ZOOS/first"
  mpirun --oversubscribe -n 3 "$PROGRAM" zoo build embedded --scale small --quiet --device cpu \
    --set expert_steps=9 --set multitask_steps=8 --out "$FUSEGRID_ZOOS/tiny"
  expect 2 'tiny/0/expert/mnist is [0-9a-f]+ now, but launch 0 of 20.* recorded' \
    "$PROGRAM" run "$WORK/grid.cfg" --results "$results" --quiet
  expect 2 'tiny/0/expert/mnist is' "$PROGRAM" run "$WORK/grid.cfg" --results "$results" --dry-run
  rm -r "$FUSEGRID_ZOOS/tiny" && mv "$FUSEGRID_ZOOS/first" "$FUSEGRID_ZOOS/tiny"

  expect 1 'finds none of the job.s recorded cells' "$PROGRAM" run "$WORK/grid.cfg" --results "$results" --forget '/ties'
  run_grid 2 "$results" --only '/pretrained/' --forget 'mnist@'
  "$PROGRAM" status "$results" | grep -q '3 valid, 0 invalid, 0 failed' || fail "a forgotten cell did not run again"
  "$PROGRAM" status "$results" | grep -qE '^3 of 39 cells of 1 job recorded, 36 left' || fail "status: $("$PROGRAM" status "$results")"
  "$PROGRAM" verify "$results" >"$WORK/out" || fail "after --forget: $(cat "$WORK/out")"
}

stopped_runs() {
  local results=$WORK/stopped signal status
  for signal in USR1 TERM; do
    "$PROGRAM" run "$WORK/grid.cfg" --results "$results" --quiet >"$WORK/out" 2>"$WORK/err" &
    wait_for has_executors "$results"
    expect 74 "in use by process" "$PROGRAM" run "$WORK/grid.cfg" --results "$results" --quiet # one run at a time
    kill -"$signal" $!
    status=0
    wait $! || status=$?
    [ "$status" -eq 75 ] || fail "$signal: status $status instead of 75"
  done
  "$PROGRAM" verify "$results" >"$WORK/out" || fail "a stopped run does not verify: $(cat "$WORK/out")"
}

make_zoo
write_job
wrong_job_files
damaged_zoos
no_device
damaged_results
views_of_complete_runs
mixed_results
stopped_runs
echo "$cases mistakes were told"
