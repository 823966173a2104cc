#!/usr/bin/env bash
# Every fuzzer under the sanitizers, with a seed of its own each time. Usage: fuzz.sh SOURCE SECONDS [SEED]
# (SECONDS of each; `./fusegrid build asan fuzz` first)
set -euo pipefail
fuzz=$1/build/asan/tests/fuzz/fuzz seconds=$2 seed=${3:-$RANDOM} failed=0
export ASAN_OPTIONS=detect_odr_violation=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
for target in "$1"/tests/fuzz/*.cpp; do
  target=$(basename "$target" .cpp)
  [[ $target != fuzz && $target != mutations ]] || continue
  "$fuzz" "$target" --seconds "$seconds" --seed "$seed" || failed=1
done
echo "seed $seed"
exit $failed
