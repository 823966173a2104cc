#!/usr/bin/env bash
# Makes the zoo that the other tests here copy: zoo.sh PROGRAM SOURCE FOLDER
set -euo pipefail
PROGRAM=$1 SOURCE=$2 WORK=$3
rm -rf "$WORK"
mkdir -p "$WORK"
# shellcheck source=tests/fault/jobs.sh
source "$(dirname "$0")/jobs.sh"

build_zoo "$FUSEGRID_ZOOS/tiny"
