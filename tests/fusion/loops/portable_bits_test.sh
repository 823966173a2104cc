#!/usr/bin/env bash
# The element loops give the same bits on other processors: portable_bits.cpp is compiled for this one with and without
# AVX2, and for Arm (Armv8, and Armv9 as in Grace), which an emulator runs. Skipped (77) where g++-aarch64-linux-gnu or
# qemu-user is not installed. Usage: portable_bits_test.sh COMPILER SOURCE TORCH-INCLUDE
set -euo pipefail
compiler=$1 source=$2 torch=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# digests NAME COMPILER [options]: compiles for a processor; digests of its run go to NAME
digests() {
  local name=$1
  shift
  "$@" -std=c++20 -O2 -ffp-contract=off -Wno-psabi -I"$source/src" -isystem "$torch" \
    "$source/tests/fusion/loops/portable_bits.cpp" -o "$scratch/$name.program"
  "${emulator[@]}" "$scratch/$name.program" >"$scratch/$name"
}

# same NAME: as here
same() {
  diff "$scratch/here" "$scratch/$1" || { echo "FAILED: other bits on $1" >&2 && exit 1; }
  echo "$1: the $(wc -l <"$scratch/here") digests of this processor"
}

emulator=()
digests here "$compiler" -march=native
if [ "$(uname -m)" = x86_64 ]; then
  for level in x86-64 x86-64-v3; do
    grep -q avx2 /proc/cpuinfo || [ $level = x86-64 ] || continue
    digests $level "$compiler" -march=$level
    same $level
  done
fi
for program in aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v $program >/dev/null || { echo "SKIPPED: no $program (packages g++-aarch64-linux-gnu, qemu-user)" && exit 77; }
done
emulator=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
for level in armv8-a armv9-a; do
  digests $level aarch64-linux-gnu-g++ -march=$level
  same $level
done
