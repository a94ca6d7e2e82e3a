"""The command line of an experiment's train.py.

All of its output is printed here, so that the scripts themselves stay short.
"""

import shutil
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from ..config.hparams import HparamsError, find_changes, load_resolved
from ..config.schema import Hparams
from ..records.experiment import Experiment
from ..records.lock import archive_run
from ..records.metrics import MetricsError
from ..records.record import OVER, RunPaths, find_run_state, load_record, resolve_precision
from ..records.validations import describe_best
from ..slurm.progress import format_progress, list_progress
from ..slurm.submit import submit_runs
from ..text.errors import EXIT_FAILED, EXIT_MISTAKE, UserError, find_exit_code, say
from ..text.located import LocatedError, list_problems
from ..threads import set_thread_waiting
from .options import (
    check_options,
    list_options,
    parse_arguments,
    parse_number,
    parse_when,
)


def train_experiment(usage: str, script: str):
    """Run an experiment's train.py; `usage` is its docopt text, `script` its path."""
    set_thread_waiting()
    program = partial(_run, usage, script)
    sys.exit(find_exit_code(program, (LocatedError, MetricsError, UserError)))


def _run(usage: str, script: str) -> int:
    arguments = parse_arguments(usage)
    expt = Experiment(_shorten(Path(script).resolve().parent))
    check_options(arguments)
    if arguments["--slurm"]:
        parse_when(arguments)
        submit_runs(
            expt,
            _begin(expt, arguments),
            list_options(usage, arguments),
            array_limit=parse_number(arguments, "--array-limit"),
            dry_run=arguments["--dry-run"],
        )
    elif arguments["--list"]:
        list_runs(expt, _select_runs(expt.load_hparams(), arguments["<run>"]))
    elif arguments["--dry-run"]:
        num_devices, num_nodes = (parse_number(arguments, x) for x in ("--devices", "--nodes"))
        plan_runs(expt, arguments["<run>"], arguments["--device"], num_devices, num_nodes)
    else:
        return train_runs(expt, arguments)
    return 0


def _shorten(folder: Path) -> Path:
    """Return the folder's path from the current folder if it is below that."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _select_runs(runs: dict[str, Hparams], names: list[str]) -> dict[str, Hparams]:
    if not runs:
        raise UserError("no runs yet: atompaint-vae search samples them")
    for name in names:
        if name not in runs:
            raise UserError(f"run {name!r} is unknown; known: {', '.join(runs)}")
    return {name: runs[name] for name in names or runs}


def list_runs(expt: Experiment, runs: dict[str, Hparams]):
    """Print each run's state and progress."""
    found = list_progress(expt, runs)
    for (name, progress), line in zip(found.items(), format_progress(found), strict=True):
        is_missing = progress.state not in ("planned", "queued")
        is_missing = is_missing and not expt.get_run_paths(name).last.exists()
        print(line + ", weights not on this machine" * is_missing)


def plan_runs(
    expt: Experiment, names: list[str], device: str, num_devices: int, num_nodes: int = 1
):
    """Print the models and costs of runs; for named runs, those of each layer.

    num_devices: of each node
    """
    from .train import choose_device

    device = choose_device(device, num_devices)
    all_runs = _check(expt, num_devices * num_nodes, names)
    runs = _select_runs(all_runs, names)
    layers = show_plans(expt, runs, all_runs, device, num_devices * num_nodes, num_nodes)
    if names:
        print("\n".join(layers))


def show_plans(
    expt: Experiment,
    runs: dict[str, Hparams],
    all_runs: dict[str, Hparams],
    device: str,
    num_devices: int = 1,
    num_nodes: int = 1,
) -> list[str]:
    """Print a table of the models and costs of runs, with notes; return tables of their layers.

    all_runs:    all runs of the experiment, to find hyperparameters that vary together
    device:      "cpu" or "cuda"
    num_devices: of all nodes
    """
    from .cost import calc_cost
    from .plan import build_model, choose_precision, make_plan, try_first_steps
    from .plan_text import (
        RunTable,
        describe_confounded,
        describe_table,
        group_notes,
        list_notes,
        make_layer_table,
    )
    from .weights import make_planned_inputs

    table, notes, layers = RunTable(runs), [], []
    planned, untrained = {f"{expt.name}/{name}": x for name, x in all_runs.items()}, set()
    print(table.make_header())
    for name, hparams in runs.items():
        inputs, found = make_planned_inputs(hparams, expt.expt_dir, planned)
        untrained |= found
        chosen = choose_precision(hparams, expt.expt_dir, device=device, inputs=inputs)
        hparams = resolve_precision(hparams, chosen)
        plan = make_plan(hparams, num_devices, inputs=inputs)
        model = build_model(hparams, inputs=inputs)
        cost = calc_cost(hparams, model, batch_size=plan.batch_size)
        steps = try_first_steps(
            hparams,
            expt.expt_dir,
            device=device,
            num_at_once=num_devices if device == "cuda" else num_nodes,
            inputs=inputs,
        )
        print(table.make_line(name, plan, cost, steps), flush=True)
        notes += [(name, text) for text in list_notes(hparams, steps, model, inputs)]
        layers.append(f"\n{name}\n{make_layer_table(cost)}")
    notes += [(name, "no weights yet; planned with initial ones") for name in sorted(untrained)]
    lines = [*group_notes(notes), *describe_confounded(all_runs)]
    print(describe_table(device, num_devices, num_nodes))
    if lines:
        print("\n".join(["", *lines]))
    return layers


def _check(expt: Experiment, num_devices: int, names: list[str]) -> dict[str, Hparams]:
    from ..config.checks import check_experiment
    from .weights import check_inputs

    checked = check_experiment(expt.hparams_path, num_devices=num_devices, names=names)
    if problems := [*check_inputs(checked, expt.expt_dir, names)]:
        raise HparamsError(list_problems(problems))
    for warning in checked.warnings:
        say(warning, 0)
    return checked.runs


def _begin(expt: Experiment, arguments: dict) -> dict[str, Hparams]:
    """Return the chosen runs; check that started ones are unchanged, or archive them to restart."""
    names = arguments["<run>"]
    num_devices = parse_number(arguments, "--nodes") * parse_number(arguments, "--devices")
    runs = _select_runs(_check(expt, num_devices, names), names)
    if arguments["--restart"]:
        if not arguments["--dry-run"]:
            from .weights import list_sources, load_inputs

            restarted = {f"{expt.name}/{name}" for name in runs}
            for hparams in runs.values():  # before anything is moved
                sources = list_sources(hparams)
                keys = [key for key in sources if sources[key] not in restarted]
                load_inputs(hparams, expt.expt_dir, keys)
            _archive(expt, runs)
        return runs
    for name, hparams in runs.items():
        check_unchanged(expt, name, hparams)
    return runs


def train_runs(expt: Experiment, arguments: dict) -> int:
    """Train unfinished runs, one after the other, and return the exit code."""
    from .checkpoints import Diverged, StepsReached
    from .processes import Processes, ProcessLost
    from .signals import Interrupted
    from .train import choose_device, follow, train_run
    from .weights import InputError, load_inputs

    when = parse_when(arguments)
    num_devices, num_nodes = (parse_number(arguments, x) for x in ("--devices", "--nodes"))
    device = choose_device(arguments["--device"], num_devices)
    processes = Processes(device, num_devices, num_nodes)
    if not processes.is_first:
        try:
            follow(processes)
        except ProcessLost as error:  # the first process reports it, or is gone
            return say(f"{error}; see node 0", EXIT_FAILED) if processes.leads_node else 0
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
            if is_again:
                recorded = load_record(paths.record)
                load_inputs(hparams, expt.expt_dir).check(recorded, paths)
                hparams = resolve_precision(hparams, recorded.precision)
            record = train_run(trained, hparams, processes, **when)
        except StepsReached:
            stop = f"--max-steps {when['max_steps']}"
            print(f"{name}: stopped at {stop}; train.py resumes from there")
        except Interrupted as reason:
            return say(f"{name}: interrupted by {reason}", reason.exit_code)
        except Diverged as error:
            exit_code = say(f"{name}: failed: {error}", EXIT_FAILED)
        except InputError as error:
            exit_code = say(f"{name}: can't start: {error}", EXIT_MISTAKE)
        except OSError as error:
            return _say_cut_off(name, describe_os_error(error, trained))
        except ProcessLost as error:
            return _say_cut_off(name, str(error))
        else:
            result = f"{name}: finished, {describe_best(record.best)}"
            print(f"{result}; {_keep_weights(paths, trained)}" if is_again else result)
    processes.dismiss()
    return exit_code


def _say_cut_off(name: str, reason: str) -> int:
    rest = "train.py resumes from the last checkpoint"
    return say(f"{name}: failed: {reason}; {rest}", EXIT_FAILED)


def describe_os_error(error: OSError, paths: RunPaths) -> str:
    """Return the file that can't be read or written, and the reason."""
    return f"{error.filename or paths.run_dir}: {(error.strerror or str(error)).lower()}"


def _keep_weights(paths: RunPaths, trained: RunPaths) -> str:
    """Move the weights of a retrained run to its folder, and return the recorded result."""
    shutil.rmtree(paths.checkpoints, ignore_errors=True)
    trained.checkpoints.rename(paths.checkpoints)
    recorded = load_record(paths.record).best
    return f"{recorded.value:.3f} is recorded" if recorded else "none is recorded"


def check_unchanged(expt: Experiment, name: str, hparams: Hparams):
    """Check that a started run has the hyperparameters of hparams.nt.

    raises: UserError if they differ
    """
    paths = expt.get_run_paths(name)
    if not paths.record.exists():
        return
    if changes := find_changes(load_resolved(paths.hparams), hparams):
        raise UserError(
            f"{expt.hparams_path}: run {name!r} has changed since it started: "
            f"{'; '.join(changes)}; train.py --restart {name} archives it and trains from scratch, "
            "or give the run another name"
        )


def _archive(expt: Experiment, names: Iterable[str]):
    for name in names:
        paths = expt.get_run_paths(name)
        if paths.run_dir.exists():
            print(f"{name}: archived as {archive_run(paths)}")
