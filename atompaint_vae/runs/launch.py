"""The command line of an experiment's train.py.

Everything that a train.py says to the user is here, so that the scripts themselves stay short.
"""

import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import docopt

from ..threads import set_thread_waiting
from ..usage import describe_usage_error
from .experiment import Experiment, UserError
from .hparams import Hparams, find_differences, load_resolved
from .located import LocatedError
from .lock import archive_run
from .metrics import MetricsError
from .progress import list_progress
from .record import OVER, RunPaths, find_run_state, load_record
from .submit import SLURM_OPTIONS, submit_runs

EXIT_FAILED = 1
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130

NOT_TOGETHER = (("--list", "--dry-run"), ("--list", "--slurm"), ("--weights", "--slurm"))


def main(usage: str, script: str):
    """Run an experiment's train.py; `usage` is its docopt text, `script` its path."""
    set_thread_waiting()
    try:
        arguments = parse_arguments(usage)
        expt = Experiment(_shorten(Path(script).resolve().parent))
        _check_options(arguments)
        if arguments["--slurm"]:
            _parse_when(arguments)
            submit_runs(
                expt,
                _begin(expt, arguments),
                _list_options(usage, arguments),
                array_limit=parse_number(arguments, "--array-limit"),
                dry_run=arguments["--dry-run"],
            )
        elif arguments["--list"]:
            list_runs(expt, _select_runs(expt.load_hparams(), arguments["<run>"]))
        elif arguments["--dry-run"]:
            num_devices = parse_number(arguments, "--devices")
            plan_runs(expt, arguments["<run>"], arguments["--device"], num_devices)
        else:
            sys.exit(train_runs(expt, arguments))
    except (LocatedError, MetricsError, UserError) as error:
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


def _check_options(arguments: dict):
    for one, other in NOT_TOGETHER:
        if arguments[one] and arguments[other]:
            raise UserError(f"{one} and {other} can't be given together")
    for option in SLURM_OPTIONS:
        if arguments[option] is not None and not arguments["--slurm"]:
            raise UserError(f"{option} is an option of --slurm, which isn't given")


def _list_options(usage: str, arguments: dict) -> dict[str, list[str]]:
    """The words of the command line for each option that isn't left at its default."""
    defaults = docopt.docopt(usage, [])
    return {
        name: [name] if value is True else [name, value]
        for name, value in arguments.items()
        if name.startswith("--") and value != defaults[name]
    }


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
    for name, progress in list_progress(expt, runs).items():
        line = f"{name:{width}}  {progress.state:11}  {progress.describe()}"
        is_missing = progress.state not in ("planned", "queued")
        is_missing = is_missing and not expt.get_run_paths(name).last.exists()
        print(line + ", weights not on this machine" * is_missing)


def plan_runs(expt: Experiment, names: list[str], device: str, num_devices: int):
    """Print what runs would train, and what it would cost; of those that are named, each layer."""
    all_runs = _check(expt, num_devices, names)
    runs = _select_runs(all_runs, names)
    layers = show_plans(expt, runs, all_runs, device, num_devices)
    if names:
        print("\n".join(layers))


def show_plans(
    expt: Experiment,
    runs: dict[str, Hparams],
    all_runs: dict[str, Hparams],
    device: str,
    num_devices: int = 1,
) -> list[str]:
    """Print a table of what runs would train, and what to mind; the tables of their layers."""
    from .cost import calc_cost
    from .plan import build_model, make_plan
    from .plan_text import (
        RunTable,
        describe_confounded,
        describe_losses,
        describe_table,
        find_confounded,
        make_layer_table,
    )
    from .train import choose_device
    from .trial import try_run

    device = choose_device(device, num_devices)
    table, notes, layers = RunTable(list(runs)), [], []
    print(table.make_header())
    for name, hparams in runs.items():
        plan = make_plan(hparams, num_devices)
        cost = calc_cost(
            build_model(hparams),
            batch_size=plan.batch_size,
            precision=hparams.train.precision,
        )
        trial = try_run(hparams, expt.expt_dir, device=device, num_devices=num_devices)
        print(table.make_line(name, plan, cost, trial), flush=True)
        notes.append(describe_losses(name, trial))
        layers.append(f"\n{name}\n{make_layer_table(cost)}")
    notes += [describe_confounded(keys) for keys in find_confounded(all_runs)]
    print(describe_table(device, num_devices))
    print("\n".join(["", *filter(None, notes)]) if any(notes) else "", end="\n" * any(notes))
    return layers


def _check(expt: Experiment, num_devices: int, names: list[str]) -> dict[str, Hparams]:
    from .checks import check_experiment

    checked = check_experiment(expt.hparams_path, num_devices=num_devices, names=names)
    for warning in checked.warnings:
        _say(warning, 0)
    return checked.runs


def _begin(expt: Experiment, arguments: dict) -> dict[str, Hparams]:
    """The runs that are asked for: as they were when they started, or archived to start anew."""
    names = arguments["<run>"]
    runs = _select_runs(_check(expt, parse_number(arguments, "--devices"), names), names)
    if arguments["--restart"]:
        if not arguments["--dry-run"]:
            _archive(expt, runs)
        return runs
    for name, hparams in runs.items():
        check_unchanged(expt, name, hparams)
    return runs


def train_runs(expt: Experiment, arguments: dict) -> int:
    """Train what is not finished, one run after the other; the exit code."""
    from .checkpoints import Diverged, StepsReached
    from .processes import Processes, ProcessLost
    from .signals import Interrupted
    from .train import choose_device, follow, train_run

    when = _parse_when(arguments)
    num_devices = parse_number(arguments, "--devices")
    processes = Processes(choose_device(arguments["--device"], num_devices), num_devices)
    if not processes.is_first:
        with suppress(ProcessLost):  # the first process says so, or is gone
            follow(processes)
        return 0
    runs = _begin(expt, arguments)

    exit_code = 0
    for name, hparams in runs.items():
        paths = expt.get_run_paths(name)
        state = find_run_state(paths)
        is_again = state == "finished" and arguments["--weights"] and not paths.last.exists()
        if state in OVER and not is_again:
            print(f"{name}: {state}")
            continue
        trained = expt.get_again_paths(name) if is_again else paths
        try:
            record = train_run(trained, hparams, processes, **when)
        except StepsReached:
            stop = f"--max-steps {when['max_steps']}"
            print(f"{name}: stopped at {stop}; train.py goes on from there")
        except Interrupted as reason:
            return _say(f"{name}: interrupted by {reason}", reason.exit_code)
        except Diverged as error:
            exit_code = _say(f"{name}: failed: {error}", EXIT_FAILED)
        except OSError as error:
            return _say_cut_off(name, describe_os_error(error, trained))
        except ProcessLost as error:
            return _say_cut_off(name, str(error))
        else:
            result = f"{name}: finished, best validation R² {record.best_val_r2:.3f}"
            print(f"{result}; {_keep_weights(paths, trained)}" if is_again else result)
    processes.dismiss()
    return exit_code


def _say_cut_off(name: str, reason: str) -> int:
    rest = "train.py goes on from the last checkpoint"
    return _say(f"{name}: failed: {reason}; {rest}", EXIT_FAILED)


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


def _parse_when(arguments: dict) -> dict:
    return {
        "max_steps": parse_number(arguments, "--max-steps"),
        "save_steps": parse_number(arguments, "--save-steps"),
        "save_minutes": parse_minutes(arguments, "--save-minutes"),
    }


def parse_number(arguments: dict, option: str) -> int | None:
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
