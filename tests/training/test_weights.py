"""Models that runs name: which of them can be had, and what is said of the others."""

import re

import pytest

from atompaint_vae.config.checks import check_experiment
from atompaint_vae.records.record import RunRecord, save_record
from atompaint_vae.text.located import list_problems
from atompaint_vae.training.weights import check_inputs

CHAIN = """\
runs:
  a:
    model:
      latent: 2x0e+1x1e
  b:
    model:
      latent: 2x0e+1x1e
      encoder_weights: 20240101_x/a
  c:
    kind: diffusion
    model:
      autoencoder: 20240101_x/b
      sampler:
        num_steps: 2
  d:
    model:
      latent: 2x0e
"""


@pytest.fixture
def chain(make_expt):
    return make_expt(
        {
            "    latent: 2x0e+1x1e\n": "",
            "1xfourier1+2x0e": "4x0e+2x1e",
            "epochs: 3": "epochs: 1",
            "steps_per_epoch: 5": "steps_per_epoch: 2",
            "runs:\n  a:\n": CHAIN,
        },
        inside="expts",
    )


def list_lines(expt, names=()) -> list[str]:
    path = expt.path / "hparams.nt"
    problems = list_problems(check_inputs(check_experiment(path), path.parent, names))
    return [line.removeprefix(f"{path}:") for line in problems.splitlines()]


def test_models_that_cannot_be_trained_before_the_run(chain):
    assert list_lines(chain) == []
    chain.edit({"20240101_x/a": "20240101_x/c", "20240101_x/b": "20240101_x/c"})
    assert list_lines(chain) == [
        "22:24: model.encoder_weights: 20240101_x/c comes later in the file, so it is trained "
        "later",
        "26:20: model.autoencoder: 20240101_x/c is this run itself",
    ]
    assert [line[:5] for line in list_lines(chain, ["c"])] == ["26:20"]


@pytest.mark.parametrize("state", ["failed", "pruned"])
def test_models_of_runs_that_ended_badly(chain, state):
    paths = chain.get_paths("b")
    paths.run_dir.mkdir(parents=True)
    record = RunRecord(run="b", experiment="20240101_x", state=state)
    save_record(paths.record, record)
    if state == "failed":  # the queue resumes it before the run that names it
        assert list_lines(chain) == list_lines(chain, ["b", "c"]) == []
    problem = f"26:20: model.autoencoder: 20240101_x/b is {state}, not finished"
    assert list_lines(chain, ["c"]) == [problem]


def test_a_chain_is_planned_before_anything_is_trained(chain):
    code, stdout, stderr = chain.train("--dry-run", "--device", "cpu")
    assert code == 0, stderr
    assert re.findall(r"^\d  (\w) ", stdout, re.MULTILINE) == [*"abcd"]
    assert "5×5×5×5" in stdout.splitlines()[3]
    assert "\n20240101_x/a, 20240101_x/b: no weights yet; planned with initial ones\n" in stdout
    assert not (chain.path / "runs").exists()


def test_the_queue_goes_on_after_a_run_that_cannot_start(chain):
    rate = "  a:\n    optim:\n      {warmup_steps: 0, learning_rate: 1e30}\n"
    chain.edit({"  a:\n": rate})
    code, stdout, stderr = chain.train()
    assert code == 2
    assert "a: failed: the validation loss is nan at step 2\n" in stderr
    reason = re.escape("runs/a: the run is failed, not finished\n")
    assert re.search(rf"^b: can't start: model\.encoder_weights: .*{reason}", stderr, re.MULTILINE)
    assert "c: can't start: model.autoencoder: unknown run 'b' of 20240101_x; " in stderr
    assert stdout.startswith("d: finished, ")


def test_a_chain_is_restarted_also_where_its_beginning_failed(chain):
    code, _, stderr = chain.train("a")
    assert code == 0, stderr
    paths = chain.paths
    paths.record.write_text(paths.record.read_text().replace("state: finished", "state: failed"))
    code, stdout, stderr = chain.train("--restart", "a", "b")
    assert code == 0, stderr
    assert "b: finished" in stdout
