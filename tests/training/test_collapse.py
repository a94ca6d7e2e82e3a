from types import SimpleNamespace

import pytest

from atompaint_vae.models.kind import get_kind
from atompaint_vae.models.vae.kind import describe_collapse
from atompaint_vae.records.record import RunPaths, load_record
from atompaint_vae.records.validations import find_alarms
from atompaint_vae.training.callbacks import AlarmBell

METRICS = {"r2": 0.01234, "active_units": 0, "prior_loss": 0.02, "prior_0e": 0.02, "prior_1e": 0.0}
TEXT = (
    "the latent has collapsed: no unit is active, R² 0.012, prior loss 0e 0.02, 1e 0; the decoder "
    "ignores it (a smaller beta or reduction: sum may help)"
)


def test_describe_collapse():
    assert describe_collapse(METRICS) == TEXT
    assert describe_collapse({**METRICS, "loss": 3.0}) == TEXT
    assert describe_collapse({**METRICS, "active_units": 1}) is None
    for loss in ("nan", "inf", "-inf"):  # another mistake, which no beta cures
        assert describe_collapse({**METRICS, "loss": float(loss)}) is None


@pytest.mark.parametrize(
    ("units", "step"),
    [([4, 2], None), ([4, 0], 10), ([0, 0, 3], None), ([3, 0, 2, 0, 0], 20), ([0], 5), ([], None)],
)
def test_the_step_since_which_an_alarm_is_on(tmp_path, units, step):
    paths = RunPaths(tmp_path)
    vae = get_kind("vae")
    assert find_alarms(paths, vae) == {}
    rows = [f"{5 * i},{i},{i},{n}" for i, n in enumerate(units, start=1)]
    paths.val_metrics.write_text("\n".join(["step,epoch,elapsed_s,active_units", *rows, ""]))
    assert find_alarms(paths, vae) == ({} if step is None else {"collapsed": step})


def test_alarm_sounds_once(capsys):
    trainer = SimpleNamespace(state=SimpleNamespace(fn="fit"), global_step=5)
    module = SimpleNamespace(kind=get_kind("vae"), held_out_metrics={**METRICS, "active_units": 3})
    alarm = AlarmBell("a")
    alarm.on_validation_end(trainer, module)
    assert capsys.readouterr().err == ""
    module.held_out_metrics = METRICS
    alarm.on_validation_end(trainer, module)
    assert capsys.readouterr().err == f"a: step 5: {TEXT}\n"
    resumed = AlarmBell("a")
    resumed.load_state_dict(alarm.state_dict())
    resumed.on_validation_end(trainer, module)
    assert capsys.readouterr().err == ""


def test_a_run_that_collapses(make_expt):
    # The prior is all that is learned.
    expt = make_expt({"optim:": "loss:\n    beta: 1e6\n  optim:\n    learning_rate: 0.1",
                      "steps_per_epoch: 5": "steps_per_epoch: 15"})
    code, _, stderr = expt.train()
    assert code == 0, stderr
    assert stderr.count("the latent has collapsed") == 1
    record = load_record(RunPaths(expt.path / "runs/a").record)
    assert record.alarms["collapsed"] in (15, 30, 45)
