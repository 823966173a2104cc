#!/bin/sh
# usage: merge_test.sh MERGE_PROGRAM: the bytes that real ranks write do not depend on their number, and a merge in
# which a rank was killed ends by itself and is continued, as does one where an expert is unreadable on one rank alone.
set -eu
program=$1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

digests() {
  (cd "$1" && find . -name '*.safetensors' -o -name '*.index.json' | sort | xargs sha256sum)
}

for ranks in 1 2 3; do
  mpirun -n $ranks "$program" "$folder" "$folder/out$ranks"
  digests "$folder/out$ranks" > "$folder/digests$ranks"
  diff "$folder/digests1" "$folder/digests$ranks"
done
test "$(wc -l < "$folder/digests1")" -eq 81

status=0
timeout 240 mpirun -n 3 "$program" "$folder" "$folder/unreadable" unreadable 2> "$folder/messages" || status=$?
if [ $status -eq 0 ] || [ $status -eq 124 ]; then
  echo "status $status: the job must end, with an error"
  exit 1
fi
for rank in 0 1 2; do
  grep "^rank $rank: rank 1: cannot read '$folder/2'" "$folder/messages" || { cat "$folder/messages"; exit 1; }
done
mpirun -n 2 "$program" "$folder" "$folder/unreadable"
digests "$folder/unreadable" > "$folder/digests_unreadable"
diff "$folder/digests1" "$folder/digests_unreadable"

if timeout 240 mpirun -n 3 "$program" "$folder" "$folder/killed" kill; then
  echo "a merge without one of its ranks must not succeed"
  exit 1
elif [ $? -eq 124 ]; then
  echo "the job hung"
  exit 1
fi
test ! -e "$folder/killed"
mpirun -n 2 "$program" "$folder" "$folder/killed" > "$folder/continued"
cat "$folder/continued"
if grep -q '^0 files' "$folder/continued"; then
  echo "nothing was continued"
  exit 1
fi
digests "$folder/killed" > "$folder/digests_killed"
diff "$folder/digests1" "$folder/digests_killed"

# experts on the disks of different ranks
for ranks in 2 3; do
  timeout 240 mpirun -n $ranks "$program" "$folder" "$folder/local$ranks" local
  digests "$folder/local$ranks" > "$folder/digests_local$ranks"
  diff "$folder/digests1" "$folder/digests_local$ranks"
done
mkdir "$folder/other"
cp -r "$folder/0" "$folder/1" "$folder/2" "$folder/3" "$folder/other"
status=0
timeout 240 mpirun -n 3 "$program" "$folder/other" "$folder/lost" lost 2> "$folder/messages" || status=$?
if [ $status -eq 0 ] || [ $status -eq 124 ]; then
  echo "status $status: the job must end, with an error"
  exit 1
fi
grep "^rank 1: rank .*model.safetensors" "$folder/messages" || { cat "$folder/messages"; exit 1; }
