#!/usr/bin/env bash
# A real Slurm of one node on this machine, for tests: Debian's slurm-wlm and munge, loopback only.
#
#   apt-get install slurm-wlm munge
#   ./local_slurm.sh start DIR [PORT]   # of two ports; then: export SLURM_CONF=DIR/slurm.conf
#   ./local_slurm.sh stop DIR
#
# Jobs of the partition `urgent` preempt those of `main`, and those of `graceful`, which are told
# first and have a minute to end.
set -euo pipefail
verb=${1:?start or stop} dir=$(realpath -m "${2:?a folder for its files}") port=${3:-16817}

start() {
    mkdir -p "$dir/state" "$dir/spool"
    # A task that is requeued waits until its credentials have expired: as short as Slurm takes it.
    cat >"$dir/slurm.conf" <<CONF
ClusterName=local
SlurmctldHost=localhost
AuthType=auth/munge
AuthInfo=cred_expire=5
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=20
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=1,sched_interval=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES PriorityTier=1 State=UP
PartitionName=graceful Nodes=localhost PriorityTier=1 GraceTime=60 State=UP
PartitionName=urgent Nodes=localhost PriorityTier=10 State=UP
CONF
    if ! munge -n </dev/null >/dev/null 2>&1; then
        mkdir -p /run/munge && chown munge: /run/munge
        runuser -u munge -- munged --force
    fi
    export SLURM_CONF="$dir/slurm.conf"
    slurmctld -c
    slurmd -N localhost
    for _ in $(seq 60); do
        sinfo -h -o %T 2>/dev/null | grep -q idle && return
        sleep 0.5
    done
    echo "slurm did not come up; see $dir/slurmctld.log and $dir/slurmd.log" >&2
    exit 1
}

stop() {
    for name in slurmd slurmctld; do
        [ -f "$dir/$name.pid" ] && kill "$(cat "$dir/$name.pid")" 2>/dev/null || true
    done
}

"$verb"
