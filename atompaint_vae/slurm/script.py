"""The script of an array of Slurm jobs, a task for each run.

It replaces submitit's and Lightning's: those requeue only after a signal, and a run that was killed
or failed would not be requeued.
"""

import shlex
import sys
from collections.abc import Iterable, Sequence

from ..records.experiment import Experiment
from .settings import SlurmSettings

# The part of the script that is the same for all experiments and sites.
TASK = """\
run=${runs[SLURM_ARRAY_TASK_ID]}
task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
echo "$task: $run, start $((${SLURM_RESTART_COUNT:-0} + 1)), on $(hostname)"

# Its time is that of this start; it has a line for each failure since the last new checkpoint.
failures=.slurm/$task.failures
touch "$failures"

# In its own step, the training gets Slurm's signals, and this script doesn't.  If one of several
# processes dies, on whichever node, Slurm ends the others.
srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \\
    "${train[@]}" "$run" && code=0 || code=$?

give_up() {
    echo "$task: $run, $1"
    echo stopped >"$failures"
    exit "$code"
}

case $code in
    0)  # finished
        rm "$failures"
        exit ;;
    143)  # ended by SIGTERM: preempted
        ;;
    *)  # ended by SIGUSR1 before the time limit (138); killed; failed
        if [ "runs/$run/checkpoints/last.ckpt" -nt "$failures" ]; then
            : >"$failures"
        else
            echo "exit code $code" >>"$failures"
        fi
        [ "$(wc -l <"$failures")" -lt 3 ] || give_up "3 failures without a new checkpoint" ;;
esac

# Only this task, not the array. The run resumes from its last checkpoint.
scontrol requeue "$task" || give_up "can't be requeued"
"""


def describe_array(
    runs: Sequence[str], settings: SlurmSettings, num_devices: int = 1, num_nodes: int = 1
) -> str:
    """Return the numbers of tasks in all and at once, their size and time, in one line."""
    tasks = "1 task" if len(runs) == 1 else f"{len(runs)} tasks"
    if num_devices * num_nodes > 1:
        nodes = "1 node" if num_nodes == 1 else f"{num_nodes} nodes"
        processes = "1 process" if num_devices == 1 else f"{num_devices} processes"
        tasks += f" of {nodes} × {processes}"
    limit = settings.array_limit
    at_once = f", at most {limit} at once" if limit and limit < len(runs) else ""
    time = settings.sbatch.get("time")
    time = f"{time} each" if time else "the partition's default time each"
    return f"{tasks}{at_once}, {time}, requeued until the run is finished"


def make_script(
    expt: Experiment,
    runs: Sequence[str],
    settings: SlurmSettings,
    options: Iterable[str],
    num_devices: int = 1,
    num_nodes: int = 1,
) -> str:
    """Return the script of an array with a task for each run.

    options:     of train.py, for each task
    num_devices: of each node; srun starts a process for each
    num_nodes:   nodes that train a run together
    """
    limit = f"%{settings.array_limit}" if settings.array_limit else ""
    directives = {
        "job-name": expt.name,
        "chdir": str(expt.expt_dir.resolve()),
        "output": f"{expt.slurm_dir.name}/%A_%a.log",
        "open-mode": "append",
        "array": f"0-{len(runs) - 1}{limit}",
        "nodes": str(num_nodes),
        "ntasks-per-node": str(num_devices),
        "requeue": "",
        "signal": f"USR1@{settings.notice_s}",
        **settings.sbatch,
    }
    summary = describe_array(runs, settings, num_devices, num_nodes)
    lines = ["#!/bin/bash", f"# {summary}"]
    for name, value in directives.items():
        lines.append(f"#SBATCH --{name}" + (f"={shlex.quote(value)}" if value else ""))
    setup = [settings.setup.rstrip("\n"), ""] if settings.setup else []
    train = shlex.join([sys.executable, "train.py", *options])
    names = [f"    {name}" for name in runs]
    return "\n".join([*lines, "", *setup, "runs=(", *names, ")", f"train=({train})", TASK])
