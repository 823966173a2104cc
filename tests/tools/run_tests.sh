#!/usr/bin/env bash
# Runs the tests of tools/. Skipped (77) where the Python packages are not installed: only who makes data needs them,
# and .ci/run installs them first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if ! ../../tools/data_python --ready; then
  echo "skipped: the packages of tools/requirements-data.txt are not installed; tools/data_python --version does that"
  exit 77
fi
export PYTHONDONTWRITEBYTECODE=1
exec ../../tools/data_python -m unittest discover --pattern '*_test.py' "$@"
