#!/usr/bin/env bash
# Starts a command on a host of hosts.sh, as ssh would: agent.sh HOST COMMAND... The host has its own network, name,
# clock since boot and, at $LOCAL_DISK, disk; all else is the file system that hosts share. mpirun uses it, too.
set -euo pipefail
host=$1
shift
exec ip netns exec "$host" unshare --uts --mount --time --boottime "$((RANDOM * 100))" --monotonic "$((RANDOM * 100))" \
  bash -c "hostname $host && mount --bind '$DISKS/$host' '$LOCAL_DISK' && mount --bind '$HOSTS_FILE' /etc/hosts &&
    if [ -r '$DISKS/$host.sh' ]; then . '$DISKS/$host.sh'; fi; $*"
