#!/usr/bin/env bash
# usage: setup_test.sh FUSEGRID-SCRIPT TORCH-FOLDER
# Which system packages `fusegrid setup` asks apt-get for. Commands of this test's own play a machine's answers, so that
# nothing is installed.
set -euo pipefail
script=$1 torch=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/dpkg-query" <<'END'
#!/bin/sh
# As the real one: a line for each package that it has heard of, and failure where there is another.
status=0
for name in "$@"; do
  case $name in
    -*) ;;
    $UNKNOWN_PACKAGE) status=1 ;;
    $REMOVED_PACKAGE) echo "config-files $name" ;;
    *) echo "installed $name" ;;
  esac
done
exit $status
END
cat >"$scratch/apt-get" <<END
#!/bin/sh
echo "\$@" >>"$scratch/asked"
END
cat >"$scratch/sudo" <<'END'
#!/bin/sh
shift
exec "$@"
END
chmod +x "$scratch"/*

# The libraries of report.html are there already: no network is asked for them.
digest=$(sha256sum "$(dirname "$script")/tools/requirements-page.txt")
mkdir -p "$scratch/cache/page-${digest:0:12}"
touch "$scratch/cache/page-${digest:0:12}/plots.js"

# expect_asked UNKNOWN REMOVED WHAT: what setup asks apt-get for where two packages are not there.
expect_asked() {
  : >"$scratch/asked"
  PATH=$scratch:$PATH UNKNOWN_PACKAGE=$1 REMOVED_PACKAGE=$2 FUSEGRID_TORCH_DIR=$torch \
    FUSEGRID_CACHE=$scratch/cache "$script" setup
  diff "$scratch/asked" <(printf '%s' "$3")
}

expect_asked none none ''
expect_asked nlohmann-json3-dev zlib1g-dev 'update
install -y --no-install-recommends nlohmann-json3-dev zlib1g-dev
'
