# shellcheck shell=bash
# A Slurm of the test's own on the hosts a and b of hosts.sh. Sourced with WORK set, after hosts.sh.

nodes_are_idle() { [ "$(on a sinfo --noheader --Node --format=%t 2>"$WORK/sinfo.log" | grep -c idle)" -eq 2 ]; }

# start_slurm: munged, slurmctld on a, slurmd on both; ready to take jobs when it returns
start_slurm() {
  export SLURM_CONF=$WORK/slurm.conf
  dd if=/dev/urandom of="$WORK/munge.key" bs=128 count=1 status=none
  chmod 600 "$WORK/munge.key"
  munged --force --key-file="$WORK/munge.key" --socket="$WORK/munge.socket" --pid-file="$WORK/munged.pid" \
    --seed-file="$WORK/munge.seed" --log-file="$WORK/munged.log"
  mkdir "$WORK/state" "$WORK/spool-a" "$WORK/spool-b"
  echo CgroupPlugin=cgroup/v1 >"$WORK/cgroup.conf" # it is not used, but detecting one would need a mounted one
  echo "PMIxCliTmpDirBase=$LOCAL_DISK" >"$WORK/mpi.conf" # /tmp is shared here, but must be each host's own
  # Nodes say that they have more cores than there are, and credentials live shortly: a requeued job waits for that.
  cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=a
AuthInfo=socket=$WORK/munge.socket,cred_expire=5
SlurmUser=root
StateSaveLocation=$WORK/state
SlurmdSpoolDir=$WORK/spool-%n
SlurmctldPidFile=$WORK/slurmctld.pid
SlurmdPidFile=$WORK/slurmd-%n.pid
SlurmctldLogFile=$WORK/slurmctld.log
SlurmdLogFile=$WORK/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
KillWait=5
OverTimeLimit=1
NodeName=a,b Sockets=1 CoresPerSocket=32 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  on a slurmctld
  on a slurmd
  on b slurmd
  wait_for nodes_are_idle
}

# of_job ID FIELD: as scontrol shows it
of_job() { on a scontrol show job "$1" | grep -oE "(^| )$2=[^ ]*" | head -n 1 | cut -d = -f 2-; }

# job_is ID STATE
job_is() { [ "$(of_job "$1" JobState)" = "$2" ]; }
