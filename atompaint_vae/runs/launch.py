"""The command line of an experiment's train.py.

Everything that a train.py says to the user is here, so that the scripts themselves stay short.
"""

import os
import sys
from pathlib import Path

import docopt

from .hparams import Hparams, HparamsError, load_hparams
from .record import RecordError, RunPaths, find_run_state, load_record

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """A mistake of the user's, told in one line."""


def main(usage: str, script: str):
    """Run an experiment's train.py; `usage` is its docopt text, `script` its path."""
    # Threads that wait for each other by spinning are ten times slower when anything else runs;
    # OpenMP reads this when torch is first imported, which is below.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    arguments = docopt.docopt(usage)
    expt_dir = Path(script).resolve().parent
    try:
        runs = _select_runs(load_hparams(expt_dir / "hparams.nt"), arguments["<run>"])
        if arguments["--list"]:
            list_runs(expt_dir, runs)
        elif arguments["--dry-run"]:
            print_plans(expt_dir, runs)
        else:
            train_runs(expt_dir, runs, arguments)
    except (HparamsError, RecordError, UserError) as error:
        sys.exit(_say(error, EXIT_MISTAKE))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted", EXIT_INTERRUPTED))


def _say(message, exit_code: int) -> int:
    print(message, file=sys.stderr)
    return exit_code


def _select_runs(runs: dict[str, Hparams], names: list[str]) -> dict[str, Hparams]:
    for name in names:
        if name not in runs:
            raise UserError(f"run {name!r} is unknown; known: {', '.join(runs)}")
    return {name: runs[name] for name in names or runs}


def list_runs(expt_dir: Path, runs: dict[str, Hparams]):
    """Print each run's state and how far it got."""
    width = max(map(len, runs))
    for name, hparams in runs.items():
        paths = RunPaths(expt_dir / "runs" / name)
        state = find_run_state(paths)
        num_steps = hparams.train.epochs * hparams.train.steps_per_epoch
        details = f"{num_steps} steps"
        if state != "planned":
            record = load_record(paths.record)
            if record.best_val_r2 is not None:
                details += f", best validation R² {record.best_val_r2:.3f}"
            if not paths.last.exists():
                details += ", weights not on this machine"
        print(f"{name:{width}}  {state:11}  {details}")


def print_plans(expt_dir: Path, runs: dict[str, Hparams]):
    """Print what each run would train."""
    from .plan import make_plan

    width = max(map(len, runs))
    print(f"{'run':{width}}  parameters  latent          compression  steps")
    for name, hparams in runs.items():
        plan = _check(expt_dir, name, make_plan, hparams)
        latent = "×".join(map(str, plan.latent_shape))
        print(
            f"{name:{width}}  {plan.num_parameters:10,}  {latent:14}  "
            f"{plan.compression_ratio:10.1f}×  {plan.num_steps}"
        )


def train_runs(expt_dir: Path, runs: dict[str, Hparams], arguments: dict):
    """Train what is not finished, one run after the other."""
    from .callbacks import Interrupted
    from .plan import make_plan
    from .train import train_run

    max_steps = _parse_steps(arguments["--max-steps"])
    for name, hparams in runs.items():
        _check(expt_dir, name, make_plan, hparams)

    interrupted = False
    for name, hparams in runs.items():
        paths = RunPaths(expt_dir / "runs" / name)
        if find_run_state(paths) == "finished" and not (
            arguments["--weights"] and not paths.last.exists()
        ):
            print(f"{name}: finished")
            continue
        try:
            record = train_run(paths, hparams, device=arguments["--device"], max_steps=max_steps)
        except Interrupted as reason:
            if not str(reason).startswith("--max-steps"):
                raise KeyboardInterrupt from None
            print(f"{name}: stopped at {reason}; ./train.py goes on from there")
            interrupted = True
        else:
            print(f"{name}: finished, best validation R² {record.best_val_r2:.3f}")
    return interrupted


def _check(expt_dir: Path, name: str, function, hparams: Hparams):
    """Call a function of a run's hyperparameters; they may not fit together."""
    try:
        return function(hparams)
    except ValueError as error:
        raise UserError(f"{expt_dir / 'hparams.nt'}: run {name!r}: {error}") from error


def _parse_steps(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"--max-steps: expected a whole number >= 1, got {text!r}")
    return int(text)
