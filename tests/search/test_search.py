"""Searches of seconds, by processes of their own."""

import importlib
import os
import random
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import nestedtext as nt
import pytest
from small_expt import read_table

from atompaint_vae.cli import run_command
from atompaint_vae.commands.status import describe_experiment
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.records.record import RunPaths, load_record

SEARCH = """\
search:
  trials: 3
  startup_trials: 2
  space:
    optim.learning_rate:
      low: 0.0001
      high: 0.1
      log: true
    model.latent:
      - 2x0e+1x1e
      - 4x0e
"""
RATES = """\
      low: 0.0001
      high: 0.1
      log: true
"""


@pytest.fixture(scope="session")
def make_search(make_expt):
    importlib.import_module("atompaint_vae.search.search")  # so that forked processes have it
    steps = {"steps_per_epoch: 5": "steps_per_epoch: 2"}

    def make(edits=None):
        expt = make_expt({"runs:\n  a:\n": SEARCH, **steps})
        expt.edit(edits or {})
        return expt

    return make


def run_search(expt_dir: Path):
    sys.exit(run_command(["search", ".", *sys.argv[1:]]))


def search(expt, *args):
    return start(expt, *args).wait()


def start(expt, *args, name="std"):
    return expt.start(*args, program=run_search, name=name)


def get_end(stdout: str) -> list[str]:
    """Return what a search says when it is over."""
    lines = stdout.splitlines()
    return lines[max(i for i, x in enumerate(lines) if x.startswith("search: ")):]


def find_summary(stdout: str) -> str:
    return get_end(stdout)[0]


def load_trials(expt) -> dict:
    return nt.load(expt.path / "trials.nt", top=dict)


def get_paths(expt, name) -> RunPaths:
    return RunPaths(expt.path / "runs" / name)


def get_states(expt) -> dict[str, str]:
    names = sorted(path.name for path in (expt.path / "runs").iterdir())
    return {name: load_record(get_paths(expt, name).record).state for name in names}


@pytest.fixture(scope="module")
def done(make_search):
    """A search that was never disturbed; tests may only read it."""
    expt = make_search()
    code, expt.said, stderr = search(expt)
    assert code == 0, stderr
    return expt


def assert_same_search(expt, other):
    assert load_trials(expt) == load_trials(other)
    assert get_states(expt) == get_states(other)
    for name in load_trials(other):
        paths, expected = get_paths(expt, name), get_paths(other, name)
        assert paths.hparams.read_text() == expected.hparams.read_text()
        for table in ("train_metrics", "val_metrics", "test_metrics"):
            if getattr(expected, table).exists():
                assert read_table(getattr(paths, table)) == read_table(getattr(expected, table))


def test_trials_are_runs(done, capsys):
    assert list(load_trials(done)) == [f"trial-00{i}" for i in range(3)]
    assert set(get_states(done)) == set(load_trials(done))
    for name, values in load_trials(done).items():
        hparams = nt.load(get_paths(done, name).hparams, top=dict)
        assert float(hparams["optim"]["learning_rate"]) == float(values["optim"]["learning_rate"])
        assert hparams["model"]["latent"] == values["model"]["latent"]
        assert hparams["optim"]["warmup_steps"] == "2"
    code, stdout, _ = done.train("--list")
    assert code == 0
    assert [line.split()[0] for line in stdout.splitlines()] == list(load_trials(done))


def test_values_are_in_the_space(done):
    for values in load_trials(done).values():
        rate = values["optim"]["learning_rate"]
        assert 1e-4 <= float(rate) <= 0.1
        assert len(re.sub(r"e.*|^0\.0*|\.", "", rate)) <= 4
        assert values["model"]["latent"] in ("2x0e+1x1e", "4x0e")


def test_the_best_is_shown(done):
    r2 = {
        name: float(max(record.best.value for record in [load_record(path / "record.nt")]))
        for name, path in ((name, done.path / "runs" / name) for name in load_trials(done))
        if load_record(path / "record.nt").state == "finished"
    }
    best = max(r2, key=r2.get)
    last = find_summary(done.said)
    assert last.startswith("search: 3 of 3 trials done, ")
    assert last.endswith(f"best {best}, val.r2 {r2[best]:.4g}")
    _, head, *rows, end = get_end(done.said)
    assert head.split() == ["best", "val.r2", "optim.learning_rate", "model.latent"]
    in_order = sorted(r2, key=r2.get, reverse=True)
    trials = load_trials(done)
    for name, row in zip(in_order, rows, strict=True):
        values = [trials[name]["optim"]["learning_rate"], trials[name]["model"]["latent"]]
        value, rate, latent = row.split()[1:]
        assert row.split()[0] == name
        assert value == f"{r2[name]:.4g}"
        assert [float(rate), latent] == [float(values[0]), values[1]]
    expt = done.path.name
    assert end == f"all trials: atompaint-vae compare {expt}; page: atompaint-vae open {expt}"


def test_each_trial_is_announced(done):
    first, *lines = done.said.splitlines()
    assert first == "search: 0 of 3 trials done"
    for name, values in load_trials(done).items():
        (line,) = [x for x in lines if x.startswith(f"{name} starts: ")]
        rate, latent = values["optim"]["learning_rate"], values["model"]["latent"]
        assert line.endswith(
            f": optim.learning_rate {float(rate)}, model.latent {latent}")


def test_a_search_that_is_over_trains_nothing(done):
    before = {path: path.stat().st_mtime_ns for path in done.path.glob("runs/*/record.nt")}
    code, stdout, stderr = search(done)
    assert (code, stderr) == (0, "")
    assert stdout.splitlines() == get_end(done.said)
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_and_go_on(make_search, done, seed):
    expt, rng = make_search(), random.Random(seed)
    for _ in range(3):
        process = start(expt)
        time.sleep(rng.uniform(0, 0.8))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    code, _, stderr = search(expt)
    assert code == 0, stderr
    assert_same_search(expt, done)


def test_interrupt_and_go_on(make_search, done):
    expt = make_search()
    process = start(expt)
    process.wait_for("runs/trial-001/val.csv")
    os.kill(process.pid, signal.SIGINT)
    code, _, stderr = process.wait()
    assert code == 130
    end = "trial-001: interrupted by SIGINT; the next search resumes from there\n"
    assert stderr.endswith(end)
    assert load_record(get_paths(expt, "trial-001").record).state == "interrupted"
    code, stdout, _ = search(expt)
    assert code == 0
    assert stdout.startswith("search: 1 of 3 trials done, best trial-000, val.r2 ")
    assert "\ntrial-001 resumes: optim.learning_rate " in stdout
    assert_same_search(expt, done)


def test_train_py_resumes_a_trial(make_search, done):
    expt = make_search()
    process = start(expt)
    process.wait_for("runs/trial-000/val.csv")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert expt.train("trial-000")[0] == 0
    assert search(expt)[0] == 0
    assert_same_search(expt, done)


def test_two_workers_share_the_trials(make_search):
    expt = make_search({"trials: 3": "trials: 5"})
    workers = [start(expt, name=name) for name in "ab"]
    results = [worker.wait() for worker in workers]
    assert [code for code, *_ in results] == [0, 0], results
    ended = re.compile(r"^(trial-\d+): (?:finished|pruned)", re.MULTILINE)
    first, second = (ended.findall(stdout) for _, stdout, _ in results)
    assert first and second
    assert sorted(first + second) == [f"trial-00{i}" for i in range(5)]
    assert list(load_trials(expt)) == [f"trial-00{i}" for i in range(5)]
    for name in load_trials(expt):
        assert len(load_record(get_paths(expt, name).record).sessions) == 1


def test_more_trials_continue_a_search(make_search, done):
    expt = make_search({"\n  trials: 3": "\n  trials: 2"})
    assert search(expt)[0] == 0
    assert len(load_trials(expt)) == 2
    expt.edit({"\n  trials: 2": "\n  trials: 3"})
    assert search(expt)[0] == 0
    assert_same_search(expt, done)


def test_trials_worse_than_the_median_are_pruned(make_search, capsys):
    expt = make_search({
        RATES: "      - 0.03\n      - 1e-9\n",
        "      - 4x0e\n": "      - 4x0e\n      - 1x0e\n",
        "startup_trials: 2": "startup_trials: 1\n  sampler: random\n  seed: 3",
    })  # fmt: skip
    code, stdout, stderr = search(expt)
    assert code == 0, stderr
    rates = [float(x["optim"]["learning_rate"]) for x in load_trials(expt).values()]
    assert rates == [0.03, 1e-9, 1e-9]  # with this seed
    assert list(get_states(expt).values()) == ["finished", "pruned", "pruned"]
    name = "trial-001"
    (session,) = load_record(get_paths(expt, name).record).sessions
    assert (session.exit, session.steps_end) == ("pruned", 4)  # none in its first epoch
    reason = r"val\.r2 -?[\d.]+ by epoch 2, worse than the median of \d finished trials"
    assert re.fullmatch(reason, session.error)
    assert f"{name}: pruned, {session.error}; " in stdout
    assert re.search(r", \d pruned, best trial", find_summary(stdout))
    # It is over, like a finished one.
    code, stdout, _ = expt.train()
    assert code == 0
    assert f"{name}: pruned\n" in stdout
    lines = describe_experiment(Experiment(expt.path))
    (line,) = [x for x in lines if x.startswith(f"  {name}")]
    assert line.split(maxsplit=2)[1] == "pruned"
    assert line.endswith(f", {session.error}")
    assert not lines[-1].startswith("  cd")


def test_trials_that_diverge_are_over(make_search):
    expt = make_search({
        RATES: "      - 1e30\n      - 0.01\n",
        "startup_trials: 2": "startup_trials: 2\n  sampler: random",
        "trials: 3": "trials: 2",
        "warmup_steps: 2": "warmup_steps: 0",
    })  # fmt: skip
    code, stdout, stderr = search(expt)
    assert code == 0, stderr
    rates = [float(x["optim"]["learning_rate"]) for x in load_trials(expt).values()]
    assert sorted(rates) == [0.01, 1e30]  # with this seed
    failed = f"trial-00{rates.index(1e30)}"
    assert get_states(expt)[failed] == "failed"
    assert f"{failed}: failed, Diverged: the validation loss is nan at step 2; " in stdout
    assert ", 1 failed, best " in find_summary(stdout)
    assert search(expt)[1].splitlines() == get_end(stdout)  # it isn't tried again


def test_a_space_that_is_exhausted(make_search):
    expt = make_search({RATES: "      - 0.01\n", "      - 4x0e\n": "", "trials: 3": "trials: 2"})
    code, stdout, stderr = search(expt)
    assert code == 0, stderr
    assert len(load_trials(expt)) == 1
    assert "\nthe space seems exhausted: 100 samples gave nothing new\nsearch: " in stdout
    assert find_summary(stdout).startswith("search: 1 of 2 trials done, ")


def test_nothing_can_be_trained(make_search):
    expt = make_search({"- 2x0e+1x1e\n": "- 90x0e\n", "      - 4x0e\n": "      - 80x0e\n"})
    code, _, stderr = search(expt)
    assert (code, stderr) == (
        2, "hparams.nt: search.space: none of 100 samples can be trained\n"
    )  # fmt: skip
    assert not (expt.path / "runs").exists()


def test_dry_run_writes_nothing(make_search):
    expt = make_search({"trials: 3": "trials: 2"})
    before = sorted(expt.path.rglob("*"))
    code, stdout, stderr = search(expt, "--dry-run")
    assert code == 0, stderr
    assert sorted(set(expt.path.rglob("*")) - set(before)) == [
        expt.path / "stderr.txt", expt.path / "stdout.txt"
    ]  # fmt: skip
    for i in range(2):
        values = r"optim.learning_rate [\d.e-]+, model.latent (2x0e\+1x1e|4x0e)"
        assert re.search(rf"^trial-00{i}: {values}$", stdout, re.MULTILINE)
        assert re.search(rf"^{i + 1}  trial-00{i} +[\d,]+  [45]×5×5×5 ", stdout, re.MULTILINE)
    assert stdout.endswith("\nsearch: 0 of 2 trials done\n")
    expt.edit({"trials: 2": "trials: 6"})
    assert search(expt, "--dry-run")[1].endswith(
        "\nsearch: 0 of 6 trials done\n"
        "shown are the first 5 of the next 6 trials; later ones depend on the results\n"
    )


def test_shared_values_that_change(done, make_search):
    expt = make_search({"trials: 3": "trials: 1"})
    assert search(expt)[0] == 0
    expt.edit({"warmup_steps: 2": "warmup_steps: 3"})
    code, _, stderr = search(expt)
    assert (code, stderr) == (
        2,
        "hparams.nt: run 'trial-000' has changed since it started: optim.warmup_steps was 2, is "
        "3; train.py --restart trial-000 archives it and trains from scratch, or give the run "
        "another name\n",
    )


def test_an_experiment_without_a_search(make_expt, capsys):
    expt = make_expt()
    message = f"{expt.path}/hparams.nt: no key 'search', which says what to sample\n"
    assert run_command(["search", str(expt.path)]) == 2
    assert capsys.readouterr().err == message


def test_a_search_without_trials(make_search):
    expt = make_search()
    for args in ([], ["--list"], ["--dry-run"]):
        assert expt.train(*args) == (2, "", "no runs yet: atompaint-vae search samples them\n")
    *_, line = describe_experiment(Experiment(expt.path))
    assert shlex.split(line) == ["atompaint-vae", "search", os.path.relpath(expt.path)]


def lose_optuna():
    """As in a process that has imported nothing of it yet, nor what needs it."""
    for name in [x for x in sys.modules if x.startswith(("optuna", "atompaint_vae.search"))]:
        del sys.modules[name]
    sys.modules["optuna"] = None


def show_help(expt_dir: Path):
    sys.exit(run_command(["plan", "--help"]))


def test_without_optuna(make_search):
    expt = make_search()
    code, _, stderr = expt.start(prepare=lose_optuna, program=run_search).wait()
    assert (code, stderr) == (
        2, "searches need Optuna: pip install 'atompaint_vae[search]', or pip install optuna\n"
    )  # fmt: skip
    assert expt.start(prepare=lose_optuna, program=show_help).wait()[0] == 0


def test_infeasible_samples_are_counted(make_search):
    expt = make_search({"- 4x0e": "- 80x0e"})
    code, stdout, stderr = search(expt)
    assert code == 0, stderr
    infeasible = {k: v for k, v in load_trials(expt).items() if "infeasible" in v}
    assert infeasible
    reason = "model.latent: 10,000 numbers, no fewer than the image's 7,986: compression ratio 0.80"
    for name, values in infeasible.items():
        assert values["model"]["latent"] == "80x0e"
        assert values["infeasible"] == reason
        assert f"{name}: infeasible: {reason}\n" in stdout
        assert not get_paths(expt, name).run_dir.exists()
    assert len(get_states(expt)) == 3
    assert f" {len(infeasible)} infeasible, " in find_summary(stdout)


def test_trials_begin_with_a_model_that_fits(make_search):
    """What doesn't fit in every trial is an error; what is sampled makes trials infeasible."""
    layers = "  model:\n    encoder_weights: finer-wide-10\n    convs_per_layer: 2\n"
    expt = make_search({"  model:\n": layers})
    for args in ([], ["--dry-run"]):
        code, stdout, stderr = search(expt, *args)
        assert (code, stdout) == (2, "")
        assert stderr == (
            "hparams.nt:8:7: model.layers: 1xfourier1+2x0e, but the encoder of finer-wide-10 has "
            "32x0e+16x1e+8x2e\n"
        )
    space = "    model.encoder.kernel_size:\n      - 3\n      - 5\n"
    expt.edit({"1xfourier1+2x0e": "32x0e+16x1e+8x2e", "  space:\n": f"  space:\n{space}"})
    code, stdout, _ = search(expt, "--dry-run")
    assert code == 0
    assert "infeasible: model.encoder.kernel_size: 5, but the encoder of finer-wide-10" in stdout
