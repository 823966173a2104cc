#!/usr/bin/env bash
# usage: relocation_test.sh CMAKE BUILD-FOLDER TORCH-FOLDER
# Installs the program, moves the installed folder, and checks that it runs from there without LibTorch's original.
set -euo pipefail
cmake=$1 build=$2 torch=$3
scratch=$(mktemp -d "$build/install-test.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

"$cmake" --install "$build" --prefix "$scratch/before" >"$scratch/log" || {
  cat "$scratch/log"
  exit 1
}
mv "$scratch/before" "$scratch/after"
cd /

for file in bin/fusegrid lib/fusegrid/torch/lib/libtorch_cpu.so; do
  libraries=$(env -u LD_LIBRARY_PATH ldd "$scratch/after/$file")
  if grep -F 'not found' <<<"$libraries"; then
    echo "after the move, $file lacks the libraries above"
    exit 1
  fi
  if grep -F "$(dirname "$torch")/" <<<"$libraries"; then
    echo "after the move, $file still uses the LibTorch of the build (above), not the copy in lib/fusegrid"
    exit 1
  fi
done
env -u LD_LIBRARY_PATH "$scratch/after/bin/fusegrid" --version </dev/null
test -s "$scratch/after/share/doc/fusegrid/LICENSE"
# Of the libraries of report.html all are there or none.
page=$scratch/after/share/fusegrid/page
[[ ! -e $page ]] || test -s "$page/plots.js" -a -s "$page/tables.js" -a -s "$page/tables.css" -a -s "$page/licences.txt"
