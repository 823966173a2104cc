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

libraries=$(env -u LD_LIBRARY_PATH ldd "$scratch/after/bin/fusegrid")
if grep -F 'not found' <<<"$libraries"; then
  echo "the moved program lacks the libraries above"
  exit 1
fi
if grep -F "$torch/" <<<"$libraries" || ! grep -qF "$scratch/after/" <<<"$libraries"; then
  printf 'the moved program must load the copy of LibTorch in its lib/fusegrid, but loads\n%s\n' "$libraries"
  exit 1
fi
env -u LD_LIBRARY_PATH "$scratch/after/bin/fusegrid" --version </dev/null
test -s "$scratch/after/share/doc/fusegrid/LICENSE"
