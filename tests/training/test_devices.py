"""A step of training on a stand-in for a GPU: nothing mixes devices, and the CPU never waits."""

import pytest
import torch
from fake_device import HostWait, use_fake_device
from small_steps import STEPS, make_hparams, make_training, take_step

from atompaint_vae.training.feed import move_batch


@pytest.mark.parametrize("name", STEPS)
def test_a_step_mixes_no_devices_and_never_waits(name, tmp_path):
    module, batch = make_training(make_hparams(STEPS[name]), tmp_path)
    # What is read or made once.
    module.training_step(batch, 0)
    module.average.update_parameters(module.model)
    with use_fake_device() as device:
        module.to(device.name)
        if (encodings := getattr(module.objective, "_encodings", None)) is not None:
            # As `prepare` leaves them, which computes on the device.
            there = module.model.autoencoder.posterior.copy_of_channel
            object.__setattr__(encodings, "copy_of_channel", there)
        optimizer = torch.optim.Adam(x for x in module.parameters() if x.requires_grad)
        for device.waiting_is_wrong in (False, True):  # tables that are made on the device
            losses = take_step(module, move_batch(batch, torch.device(device.name)), optimizer)
        assert losses["loss"].device.type == device.name
        trained = [x for x in module.model.parameters() if x.requires_grad]
        assert {x.grad.device.type for x in trained} == {device.name}


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x[torch.arange(2)],
        lambda x: x * torch.ones(4).to(x),
    ],
)
def test_what_waits_is_noticed(function):
    with use_fake_device() as device:
        x = torch.zeros(4, device=device.name)
        device.waiting_is_wrong = True
        with pytest.raises(HostWait):
            function(x)


def test_mixed_devices_are_noticed():
    with use_fake_device() as device:
        x = torch.zeros(4, device=device.name)
        with pytest.raises(RuntimeError, match="at least two devices"):
            x + torch.ones(4)
        sent = torch.ones(4).to(x, non_blocking=True)
        assert (x + sent).shape == (4,)
