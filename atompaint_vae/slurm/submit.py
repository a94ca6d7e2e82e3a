"""`train.py --slurm`: submit runs to Slurm, as an array with a task for each."""

import subprocess
from collections.abc import Collection, Mapping

from ..config.schema import Hparams
from ..records.experiment import Experiment
from ..records.record import OVER, UNREADABLE
from ..text.errors import UserError
from .progress import list_progress
from .queue import Submission, save_submission
from .script import make_script
from .settings import load_slurm_settings

# What --slurm asks sbatch for.
SBATCH_OPTIONS = ("--time", "--partition", "--gres")
SLURM_OPTIONS = (*SBATCH_OPTIONS, "--array-limit")
# What is asked for once, not whenever a task begins or is submitted again.
ONLY_NOW = ("--dry-run", "--restart")


def submit_runs(
    expt: Experiment,
    runs: Mapping[str, Hparams],
    options: Mapping[str, list[str]],
    *,
    array_limit: int | None = None,
    dry_run: bool = False,
):
    """Submit what is neither finished, running nor queued; or print the script that would be.

    options: of train.py's command line: the words that give each, but for defaults

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
    num_devices = int(options["--devices"][1]) if "--devices" in options else 1
    script = make_script(expt, missing, settings, train, num_devices)
    if dry_run:
        print(script, end="")
        return
    submission = Submission(runs=missing, options=_join(options, without=ONLY_NOW))
    job = _submit(expt, script)
    save_submission(expt, job, submission)
    for index, name in enumerate(missing):
        print(f"{name}: submitted as {job}_{index}")


def _join(options: Mapping[str, list[str]], without: Collection[str]) -> list[str]:
    return [word for name, words in options.items() if name not in without for word in words]


def _submit(expt: Experiment, script: str) -> int:
    """The number of the job that Slurm has made of a script."""
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
    """What sbatch says, in one line; its first line says more than the others."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[0].removeprefix("sbatch: error: ") if lines else "failed, and doesn't say why"
