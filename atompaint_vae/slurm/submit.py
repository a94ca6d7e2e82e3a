"""`train.py --slurm`: submit runs to Slurm, as an array with a task for each."""

import subprocess
from collections.abc import Collection, Mapping

from ..config.schema import Hparams
from ..records.experiment import Experiment
from ..records.record import OVER, UNREADABLE
from ..text.errors import UserError, say
from .progress import list_progress
from .queue import Submission, save_submission
from .script import make_script
from .settings import load_slurm_settings

# Options that are passed to sbatch.
SBATCH_OPTIONS = ("--time", "--partition", "--gres")
SLURM_OPTIONS = (*SBATCH_OPTIONS, "--array-limit")
# Options for this submission only, not for tasks or later submissions.
ONLY_NOW = ("--dry-run", "--restart")


def submit_runs(
    expt: Experiment,
    runs: Mapping[str, Hparams],
    options: Mapping[str, list[str]],
    *,
    array_limit: int | None = None,
    dry_run: bool = False,
):
    """Submit the runs that are neither finished, running nor queued; or print the script.

    options: words of train.py's command line for each option that isn't at its default

    raises: UserError if it can't be submitted; SlurmSettingsError
    """
    settings = load_slurm_settings(expt.expt_dir)
    sbatch = {x.removeprefix("--"): options[x][1] for x in SBATCH_OPTIONS if x in options}
    settings = settings.model_copy(
        update={
            "sbatch": settings.sbatch | sbatch,
            "array_limit": array_limit or settings.array_limit,
        }
    )
    states = {name: progress.state for name, progress in list_progress(expt, runs).items()}
    done = ["queued", "running"]
    if "--restart" not in options:
        done += [*OVER, UNREADABLE]
    missing = [name for name in runs if states[name] not in done]
    if not missing or not dry_run:
        for name in runs:
            if name not in missing:
                print(f"{name}: {states[name]}")
    if not missing:
        print("nothing to submit")
        return
    train = _join(options, without=("--slurm", *SLURM_OPTIONS, *ONLY_NOW))
    num_devices, num_nodes = (
        int(options[name][1]) if name in options else 1 for name in ("--devices", "--nodes")
    )
    script = make_script(expt, missing, settings, train, num_devices, num_nodes)
    if dry_run:
        print(script, end="")
        if "time" not in settings.sbatch:
            hint = "--time, or 'time' below 'sbatch' in slurm.nt, sets it"
            say(f"warning: no time limit is given, so the partition's default applies; {hint}", 0)
        return
    submission = Submission(runs=missing, options=_join(options, without=ONLY_NOW))
    job = _submit(expt, script)
    save_submission(expt, job, submission)
    for index, name in enumerate(missing):
        print(f"{name}: submitted as {job}_{index}")


def _join(options: Mapping[str, list[str]], without: Collection[str]) -> list[str]:
    return [word for name, words in options.items() if name not in without for word in words]


def _submit(expt: Experiment, script: str) -> int:
    """Submit a script, and return the job's number."""
    expt.slurm_dir.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            ["sbatch", "--parsable"], input=script, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise UserError(
            "--slurm: there is no sbatch here; submit where Slurm's commands are, such as a "
            "cluster's login node"
        ) from None
    if done.returncode:
        raise UserError(f"sbatch: {_find_reason(done.stderr)}")
    return int(done.stdout.partition(";")[0])


def _find_reason(stderr: str) -> str:
    """Return the first line of sbatch's errors, which is the most specific one."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[0].removeprefix("sbatch: error: ") if lines else "failed without a message"
