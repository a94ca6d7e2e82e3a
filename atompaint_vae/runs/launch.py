"""The command line of an experiment's train.py.

Everything that a train.py says to the user is here, so that the scripts themselves stay short.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import docopt

from .experiment import Experiment, UserError
from .hparams import Hparams, HparamsError, find_differences, load_resolved
from .metrics import MetricsError
from .record import RecordError, RunPaths, find_run_state, load_record

EXIT_FAILED = 1
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


def main(usage: str, script: str):
    """Run an experiment's train.py; `usage` is its docopt text, `script` its path."""
    # Threads that wait for each other by spinning are ten times slower when anything else runs;
    # OpenMP reads this when torch is first imported, which is below.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    try:
        arguments = parse_arguments(usage)
        expt = Experiment(_shorten(Path(script).resolve().parent))
        runs = _select_runs(expt.load_hparams(), arguments["<run>"])
        if arguments["--list"]:
            list_runs(expt, runs)
        elif arguments["--dry-run"]:
            print_plans(expt, runs)
        else:
            sys.exit(train_runs(expt, runs, arguments))
    except (HparamsError, RecordError, MetricsError, UserError) as error:
        sys.exit(_say(error, EXIT_MISTAKE))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted", EXIT_INTERRUPTED))


def parse_arguments(usage: str) -> dict:
    """The command line, read by docopt.

    raises: UserError, in one line, where docopt would print the usage
    """
    try:
        return docopt.docopt(usage)
    except docopt.DocoptExit as error:
        raise UserError(describe_misuse(error, Path(sys.argv[0]).name)) from None


def describe_misuse(error: docopt.DocoptExit, program: str) -> str:
    """In one line what docopt says in many."""
    problem = next(iter(str(error).splitlines()), "")
    # What it has no place for it tells in Python's words; when an argument is missing, another
    # has no place.
    if unmatched := re.search(r"\[Option\([^']*'([^']*)'", problem):
        problem = f"{unmatched[1]} is not expected"
    elif not problem or re.match("Warning|Usage", problem):
        problem = "the arguments don't fit the usage"
    return f"{problem}; see {program} --help"


def _shorten(folder: Path) -> Path:
    """The folder as seen from here, if that is shorter to read."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _say(message, exit_code: int) -> int:
    print(message, file=sys.stderr)
    return exit_code


def _select_runs(runs: dict[str, Hparams], names: list[str]) -> dict[str, Hparams]:
    for name in names:
        if name not in runs:
            raise UserError(f"run {name!r} is unknown; known: {', '.join(runs)}")
    return {name: runs[name] for name in names or runs}


def list_runs(expt: Experiment, runs: dict[str, Hparams]):
    """Print each run's state and how far it got."""
    from .checkpoints import find_best_validation

    width = max(map(len, runs))
    for name, hparams in runs.items():
        paths = expt.get_run_paths(name)
        state = find_run_state(paths)
        details = [f"{hparams.train.epochs * hparams.train.steps_per_epoch} steps"]
        if state != "planned":
            best = find_best_validation(paths)
            if state != "finished":
                done = load_record(paths.record).sessions[-1].steps_end or (best and best.step) or 0
                details = [f"step {done} of {details[0]}"]
            if best:
                details.append(f"best validation R² {best.r2:.3f}")
            if not paths.last.exists():
                details.append("weights not on this machine")
        print(f"{name:{width}}  {state:11}  {', '.join(details)}")


def print_plans(expt: Experiment, runs: dict[str, Hparams]):
    """Print what each run would train."""
    width = max(3, *map(len, runs))
    print(f"{'run':{width}}  parameters  latent          compression  steps")
    for name, hparams in runs.items():
        plan = _make_plan(expt, name, hparams)
        latent = "×".join(map(str, plan.latent_shape))
        print(
            f"{name:{width}}  {plan.num_parameters:10,}  {latent:14}  "
            f"{plan.compression_ratio:10.1f}×  {plan.num_steps}"
        )


def train_runs(expt: Experiment, runs: dict[str, Hparams], arguments: dict) -> int:
    """Train what is not finished, one run after the other; the exit code."""
    from .checkpoints import Diverged, StepsReached
    from .signals import Interrupted
    from .train import choose_device, train_run

    max_steps = _parse_steps(arguments["--max-steps"])
    device = choose_device(arguments["--device"])
    for name, hparams in runs.items():
        _make_plan(expt, name, hparams)
        _check_unchanged(expt, name, hparams)

    exit_code = 0
    for name, hparams in runs.items():
        paths = expt.get_run_paths(name)
        is_again = find_run_state(paths) == "finished"
        if is_again and not (arguments["--weights"] and not paths.last.exists()):
            print(f"{name}: finished")
            continue
        trained = expt.get_again_paths(name) if is_again else paths
        try:
            record = train_run(trained, hparams, device=device, max_steps=max_steps)
        except StepsReached:
            print(f"{name}: stopped at --max-steps {max_steps}; train.py goes on from there")
        except Interrupted as reason:
            return _say(f"{name}: interrupted by {reason}", reason.exit_code)
        except Diverged as error:
            exit_code = _say(f"{name}: failed: {error}", EXIT_FAILED)
        else:
            result = f"{name}: finished, best validation R² {record.best_val_r2:.3f}"
            print(f"{result}; {_keep_weights(paths, trained)}" if is_again else result)
    return exit_code


def _keep_weights(paths: RunPaths, trained: RunPaths) -> str:
    """What the record says; moves the weights of a run that was trained again to its folder."""
    shutil.rmtree(paths.checkpoints, ignore_errors=True)
    trained.checkpoints.rename(paths.checkpoints)
    return f"{load_record(paths.record).best_val_r2:.3f} is recorded"


def _make_plan(expt: Experiment, name: str, hparams: Hparams):
    from .plan import make_plan

    try:
        return make_plan(hparams)
    except ValueError as error:
        raise UserError(f"{expt.hparams_path}: run {name!r}: {error}") from error


def _check_unchanged(expt: Experiment, name: str, hparams: Hparams):
    """A run that has begun is what hparams.nt says that it is.

    raises: UserError if it isn't
    """
    paths = expt.get_run_paths(name)
    if not paths.record.exists():
        return
    values = find_differences({"then": load_resolved(paths.hparams), "now": hparams})
    changes = [f"{key} was {values['then'][key]}, is {new}" for key, new in values["now"].items()]
    if changes:
        raise UserError(
            f"{expt.hparams_path}: run {name!r} has changed since it started: "
            f"{'; '.join(changes)}; remove {paths.run_dir} or give the run another name"
        )


def _parse_steps(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--max-steps: expected a whole number >= 1, got {text!r}")
    return int(text)
