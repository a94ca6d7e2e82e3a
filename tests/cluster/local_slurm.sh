#!/usr/bin/env bash
# A real Slurm of two nodes on this machine, for tests: Debian's slurm-wlm and munge, loopback only.
#
#   apt-get install slurm-wlm munge
#   ./local_slurm.sh DIR PORT   # and the next two; then, elsewhere: export SLURM_CONF=DIR/slurm.conf
#
# It says `ready`, and runs until its input ends (Ctrl-D), as it does when whoever has started it
# is gone; then it cancels all jobs. Another Slurm, or another munge, on this machine isn't touched.
#
# Jobs of the partition `urgent` preempt those of `main`, and those of `graceful`, which are told
# first and have a minute to end.  The partition `both` has both nodes, the others have the first.
set -euo pipefail
dir=$(realpath -m "${1:?a folder for its files}") port=${2:?a port, free as the next two}

mkdir -p "$dir/state" "$dir/spool/node1" "$dir/spool/node2"
# A task that is requeued waits until its credentials have expired: as short as Slurm takes it.
cat >"$dir/slurm.conf" <<CONF
ClusterName=local
SlurmctldHost=localhost
AuthType=auth/munge
AuthInfo=cred_expire=5,socket=$dir/munge.socket
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.%n.log
SlurmctldPort=$port
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# Two tasks at once, on any machine.
SlurmdParameters=config_overrides
ReturnToService=2
# On a busy machine, a step and a checkpoint take a while.
KillWait=60
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=1,sched_interval=2
NodeName=DEFAULT CPUs=2 RealMemory=1000 State=UNKNOWN
# None may be called localhost: Slurm takes that for any other, too.
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((port + 1))
NodeName=node2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((port + 2))
PartitionName=main Nodes=node1 Default=YES PriorityTier=1 State=UP
PartitionName=graceful Nodes=node1 PriorityTier=1 GraceTime=60 State=UP
PartitionName=urgent Nodes=node1 PriorityTier=10 State=UP
PartitionName=both Nodes=node1,node2 PriorityTier=1 State=UP
CONF
export SLURM_CONF="$dir/slurm.conf"

daemons=()
stop() {
    scancel --user=root --signal=KILL --full || true
    scancel --user=root || true
    # Also for the last steps, whose ends slurmctld must hear of, or they try for minutes.
    for _ in $(seq 60); do
        [ -n "$(squeue --noheader 2>/dev/null)$(compgen -G "$dir/spool/*/node?_*")" ] || break
        sleep 0.5
    done
    kill "${daemons[@]}" 2>/dev/null || true
    wait
}
trap stop EXIT

# All in the foreground, as children of this script: it ends with them, and they with it.
start() {
    "$@" </dev/null >>"$dir/output.log" 2>&1 &
    daemons+=($!)
}

(umask 077 && head -c 32 /dev/urandom >"$dir/munge.key")
start munged --foreground --force --socket="$dir/munge.socket" --key-file="$dir/munge.key" \
    --pid-file="$dir/munge.pid" --seed-file="$dir/munge.seed"
for _ in $(seq 50); do
    munge --no-input --socket="$dir/munge.socket" >/dev/null 2>&1 && break
    sleep 0.1
done
start slurmctld -D -c
start slurmd -D -N node1
start slurmd -D -N node2
for _ in $(seq 120); do
    if [ "$(sinfo --noheader --partition=both --format=%T:%D 2>/dev/null)" = idle:2 ]; then
        echo ready
        cat >/dev/null
        exit
    fi
    sleep 0.5
done
echo "Slurm did not come up; see the logs in $dir" >&2
exit 1
