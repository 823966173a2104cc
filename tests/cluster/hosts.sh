# shellcheck shell=bash
# Network namespaces as the hosts of a cluster on one machine. Sourced with WORK set, by a script that has called
# `enter_cluster "$0" "$@"` first: in namespaces of its own, where nothing outlives it or changes the machine.

# enter_cluster SCRIPT ARGUMENTS...: runs the script again inside; skips (77) where the system does not allow that.
enter_cluster() {
  [ -z "${FUSEGRID_IN_CLUSTER:-}" ] || return 0
  local namespaces=(unshare --mount --net --uts --ipc --pid --fork --kill-child --mount-proc) reason
  [ "$(id -u)" -eq 0 ] || namespaces+=(--map-root-user)
  command -v ip >/dev/null || skip "there is no 'ip' (package iproute2)"
  reason=$("${namespaces[@]}" bash -c 'mount -t tmpfs tmpfs /run && ip link add name try type bridge && ip netns add try &&
    ip netns exec try unshare --uts --mount --time true' 2>&1) || skip "namespaces cannot be made here: $reason"
  FUSEGRID_IN_CLUSTER=1 exec "${namespaces[@]}" bash "$@"
}

skip() {
  echo "SKIPPED: $*"
  exit 77
}

# make_hosts NAME...: on one network, 10.77.0.0/24
make_hosts() {
  export DISKS=$WORK/disks LOCAL_DISK=$WORK/local HOSTS_FILE=$WORK/hosts
  mkdir -p "$LOCAL_DISK"
  mount -t tmpfs tmpfs /run # where `ip netns` keeps its names
  echo 127.0.0.1 localhost >"$HOSTS_FILE"
  ip link set lo up
  ip link add name switch type bridge
  ip link set switch up
  local host number=1
  for host in "$@"; do
    number=$((number + 1))
    mkdir -p "$DISKS/$host"
    echo "10.77.0.$number $host" >>"$HOSTS_FILE"
    ip netns add "$host"
    ip link add name "to-$host" type veth peer name eth0 netns "$host"
    ip link set "to-$host" master switch up
    ip -n "$host" addr add "10.77.0.$number/24" dev eth0
    ip -n "$host" link set eth0 up
    ip -n "$host" link set lo up
  done
}

AGENT=$(dirname "${BASH_SOURCE[0]}")/agent.sh

# on HOST COMMAND...
on() { "$AGENT" "$1" "$(printf '%q ' "${@:2}")"; }

# launch HOSTS COMMAND...: mpirun on the first of HOSTS ("a:2,b:2"), its ranks on all of them, over TCP
launch() {
  local hosts=$1
  shift
  on "${hosts%%:*}" mpirun --mca plm rsh --mca plm_rsh_agent "$AGENT" --mca plm_rsh_no_tree_spawn 1 \
    --mca oob_tcp_if_include 10.77.0.0/24 --mca btl_tcp_if_include 10.77.0.0/24 --mca btl self,vader,tcp --mca pml ob1 \
    --oversubscribe --host "$hosts" "$@"
}

# kill_host HOST: all its processes
kill_host() { ip netns pids "$1" | xargs -r kill -KILL; }

# unplug HOST, plug HOST: no packet of it arrives any more, and again
unplug() { ip link set "to-$1" down; }
plug() { ip link set "to-$1" up; }
