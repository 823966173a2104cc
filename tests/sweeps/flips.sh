#!/usr/bin/env bash
# Flips a bit of every byte of a small journal and of its results.h5 (or of MOST bytes of it): verify and report must
# find each, or read the same. Usage: flips.sh PROGRAM SOURCE FLIPS [MOST]
set -euo pipefail
PROGRAM=$1 SOURCE=$2 FLIPS=$3
# shellcheck source=tests/sweeps/grid.sh
source "$(dirname "$0")/grid.sh"
"$PROGRAM" run "$WORK/grid.cfg" --inline --only simple_average --results "$WORK/results" >"$WORK/results.log" 2>&1
"$FLIPS" "$WORK/results" "${@:4}"
