"""The command line of an experiment's train.py.

Everything that a train.py says to the user is here, so that the scripts themselves stay short.
"""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import docopt

from ..threads import set_thread_waiting
from ..usage import describe_usage_error
from .experiment import Experiment, UserError
from .hparams import Hparams, HparamsError, find_differences, load_resolved
from .lock import archive_run
from .metrics import MetricsError
from .progress import find_progress
from .record import RecordError, RunPaths, find_run_state, load_record

EXIT_FAILED = 1
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


def main(usage: str, script: str):
    """Run an experiment's train.py; `usage` is its docopt text, `script` its path."""
    set_thread_waiting()
    try:
        arguments = parse_arguments(usage)
        expt = Experiment(_shorten(Path(script).resolve().parent))
        if arguments["--list"] and arguments["--dry-run"]:
            raise UserError("--list and --dry-run can't be given together")
        if arguments["--list"]:
            list_runs(expt, _select_runs(expt.load_hparams(), arguments["<run>"]))
        elif arguments["--dry-run"]:
            plan_runs(expt, arguments["<run>"], arguments["--device"])
        else:
            sys.exit(train_runs(expt, arguments))
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
        problem = describe_usage_error(error)
        raise UserError(f"{problem}; see {Path(sys.argv[0]).name} --help") from None


def _shorten(folder: Path) -> Path:
    """The folder as seen from here, if that is shorter to read."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _say(message, exit_code: int) -> int:
    print(message, file=sys.stderr)
    return exit_code


def _select_runs(runs: dict[str, Hparams], names: list[str]) -> dict[str, Hparams]:
    if not runs:
        raise UserError("no runs yet: atompaint-vae search samples them")
    for name in names:
        if name not in runs:
            raise UserError(f"run {name!r} is unknown; known: {', '.join(runs)}")
    return {name: runs[name] for name in names or runs}


def list_runs(expt: Experiment, runs: dict[str, Hparams]):
    """Print each run's state and how far it got."""
    width = max(map(len, runs))
    for name, hparams in runs.items():
        paths = expt.get_run_paths(name)
        progress = find_progress(paths, hparams)
        line = f"{name:{width}}  {progress.state:11}  {progress.describe()}"
        is_missing = progress.state != "planned" and not paths.last.exists()
        print(line + ", weights not on this machine" * is_missing)


def plan_runs(expt: Experiment, names: list[str], device: str):
    """Print what runs would train, and what it would cost; of those that are named, each layer."""
    from .train import choose_device

    device = choose_device(device)
    all_runs = _check(expt)
    layers = show_plans(expt, _select_runs(all_runs, names), all_runs, device)
    if names:
        print("\n".join(layers))


def show_plans(
    expt: Experiment, runs: dict[str, Hparams], all_runs: dict[str, Hparams], device: str
) -> list[str]:
    """Print a table of what runs would train, and what to mind; the tables of their layers.

    all_runs: those of the experiment, in which hyperparameters may vary together
    device:   "cpu" or "cuda"
    """
    from .cost import calc_cost
    from .plan import build_model, make_plan
    from .plan_text import (
        RunTable,
        describe_confounded,
        describe_losses,
        find_confounded,
        make_layer_table,
    )
    from .trial import MAX_CROPS, NUM_TIMED_STEPS, try_run

    table, notes, layers = RunTable(list(runs)), [], []
    print(table.make_header())
    for name, hparams in runs.items():
        cost = calc_cost(
            build_model(hparams),
            batch_size=hparams.optim.batch_size,
            precision=hparams.train.precision,
        )
        trial = try_run(hparams, expt.expt_dir, device=device)
        print(table.make_line(name, make_plan(hparams), cost, trial), flush=True)
        notes.append(describe_losses(name, trial))
        layers.append(f"\n{name}\n{make_layer_table(cost)}")
    notes += [describe_confounded(keys) for keys in find_confounded(all_runs)]
    print(
        "\nMultiply-adds and memory: of a step of the whole batch, forward and backward. Losses: "
        "of the first batch,\nwith fresh weights. Time: the faster of "
        f"{NUM_TIMED_STEPS} steps of at most {MAX_CROPS} crops and a validation of them on "
        f"{device},\nscaled up."
    )
    print("\n".join(["", *filter(None, notes)]) if any(notes) else "", end="\n" * any(notes))
    return layers


def _check(expt: Experiment) -> dict[str, Hparams]:
    from .checks import check_experiment

    checked = check_experiment(expt.hparams_path)
    for warning in checked.warnings:
        _say(warning, 0)
    return checked.runs


def train_runs(expt: Experiment, arguments: dict) -> int:
    """Train what is not finished, one run after the other; the exit code."""
    from .checkpoints import Diverged, StepsReached
    from .signals import Interrupted
    from .train import choose_device, train_run

    when = {
        "max_steps": _parse_steps(arguments, "--max-steps"),
        "save_steps": _parse_steps(arguments, "--save-steps"),
        "save_minutes": parse_minutes(arguments, "--save-minutes"),
    }
    device = choose_device(arguments["--device"])
    runs = _select_runs(_check(expt), arguments["<run>"])
    if arguments["--restart"]:
        _archive(expt, runs)
    for name, hparams in runs.items():
        check_unchanged(expt, name, hparams)

    exit_code = 0
    for name, hparams in runs.items():
        paths = expt.get_run_paths(name)
        state = find_run_state(paths)
        is_again = state == "finished"
        if state == "pruned":
            print(f"{name}: pruned")
            continue
        if is_again and not (arguments["--weights"] and not paths.last.exists()):
            print(f"{name}: finished")
            continue
        trained = expt.get_again_paths(name) if is_again else paths
        try:
            record = train_run(trained, hparams, device=device, **when)
        except StepsReached:
            stop = f"--max-steps {when['max_steps']}"
            print(f"{name}: stopped at {stop}; train.py goes on from there")
        except Interrupted as reason:
            return _say(f"{name}: interrupted by {reason}", reason.exit_code)
        except Diverged as error:
            exit_code = _say(f"{name}: failed: {error}", EXIT_FAILED)
        except OSError as error:
            rest = "train.py goes on from the last checkpoint"
            return _say(f"{name}: failed: {describe_os_error(error, trained)}; {rest}", EXIT_FAILED)
        else:
            result = f"{name}: finished, best validation R² {record.best_val_r2:.3f}"
            print(f"{result}; {_keep_weights(paths, trained)}" if is_again else result)
    return exit_code


def describe_os_error(error: OSError, paths: RunPaths) -> str:
    """Which file of a run can't be read or written, and why."""
    return f"{error.filename or paths.run_dir}: {(error.strerror or str(error)).lower()}"


def _keep_weights(paths: RunPaths, trained: RunPaths) -> str:
    """What the record says; moves the weights of a run that was trained again to its folder."""
    shutil.rmtree(paths.checkpoints, ignore_errors=True)
    trained.checkpoints.rename(paths.checkpoints)
    return f"{load_record(paths.record).best_val_r2:.3f} is recorded"


def check_unchanged(expt: Experiment, name: str, hparams: Hparams):
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
            f"{'; '.join(changes)}; train.py --restart {name} archives it and begins anew, or give "
            "the run another name"
        )


def _archive(expt: Experiment, names: Iterable[str]):
    for name in names:
        paths = expt.get_run_paths(name)
        if paths.run_dir.exists():
            print(f"{name}: archived as {archive_run(paths)}")


def _parse_steps(arguments: dict, option: str) -> int | None:
    text = arguments[option]
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{option}: expected a whole number >= 1, got {text!r}")
    return int(text)


def parse_minutes(arguments: dict, option: str) -> float:
    try:
        minutes = float(arguments[option])
    except ValueError:
        minutes = 0
    if not minutes > 0:
        raise UserError(f"{option}: expected a number > 0, got {arguments[option]!r}")
    return minutes
