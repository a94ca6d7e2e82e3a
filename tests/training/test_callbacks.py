"""What is done around a step, without training."""

from types import SimpleNamespace

import pytest
import torch

from atompaint_vae.models.kind import get_kind
from atompaint_vae.records.record import RunPaths
from atompaint_vae.training.callbacks import DivergenceStop, MetricsWriter
from atompaint_vae.training.checkpoints import Diverged


def test_a_resumed_run_goes_on_counting_its_time(tmp_path):
    writer = MetricsWriter(RunPaths(tmp_path))
    writer.load_state_dict({"elapsed_s": 1000.0, "tables": {}})
    writer.on_fit_start(None, None)
    assert 1000 <= writer.state_dict()["elapsed_s"] < 1100


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_training_loss_that_is_no_finite_number_ends_the_run(loss):
    trainer = SimpleNamespace(global_step=20)
    stop, others = DivergenceStop(), [1.0, 1.0]
    stop.on_train_batch_end(trainer, None, {"losses": torch.tensor([2.0, *others])}, None, 0)
    with pytest.raises(Diverged, match=rf"^the loss is {loss} at step 20$"):
        stop.on_train_batch_end(trainer, None, {"losses": torch.tensor([loss, *others])}, None, 0)


def test_a_held_out_loss_that_is_no_number_ends_training_but_no_test():
    module = SimpleNamespace(kind=get_kind("vae"), held_out_metrics={"loss": float("nan")})
    trainer = SimpleNamespace(global_step=20, state=SimpleNamespace(fn="test"))
    DivergenceStop().on_validation_end(trainer, module)
    trainer.state.fn = "fit"
    with pytest.raises(Diverged, match=r"^the validation loss is nan at step 20$"):
        DivergenceStop().on_validation_end(trainer, module)
