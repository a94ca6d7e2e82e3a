"""What a run would train: the model that its hyperparameters describe, and its size."""

from dataclasses import dataclass

import torch

from ..config.hparams import Hparams
from ..data.crops.voxelize import CHANNELS
from ..models.vae.vae import VAE
from ..nn.conv import SteerableConv
from ..nn.unconstrained import UnconstrainedConv


def build_model(hparams: Hparams, *, image_std: float = 1.0) -> VAE:
    """The model with fresh weights, from torch's present random state.

    raises: ValueError if the hyperparameters don't fit together
    """
    return VAE(
        hparams.model.layers,
        hparams.model.latent,
        num_channels=len(CHANNELS),
        size_voxels=hparams.data.size_voxels,
        convs_per_layer=hparams.model.convs_per_layer,
        kernel_size=hparams.model.kernel_size,
        conv=UnconstrainedConv if hparams.model.symmetry == "none" else SteerableConv,
        posterior_std=hparams.model.posterior_std,
        grid=None if hparams.model.grid == "auto" else hparams.model.grid,
        function=hparams.model.nonlinearity,
        irreps=hparams.model.irreps_nonlinearity,
        image_std=image_std,
    )


@dataclass(frozen=True)
class Plan:
    """batch_size:   crops of a step on each device
    latent_shape: channels, then voxels along each axis
    """

    num_devices: int
    batch_size: int
    num_parameters: int
    latent_shape: tuple[int, int, int, int]
    compression_ratio: float
    num_steps: int


def make_plan(hparams: Hparams, num_devices: int = 1) -> Plan:
    """What a run would train.  Leaves torch's random state as it was.

    raises: ValueError if the hyperparameters don't fit together
    """
    with torch.random.fork_rng(devices=[]):
        model = build_model(hparams)
    return Plan(
        num_devices=num_devices,
        batch_size=hparams.optim.batch_size // num_devices,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        latent_shape=model.latent_shape,
        compression_ratio=model.compression_ratio,
        num_steps=hparams.train.epochs * hparams.train.steps_per_epoch,
    )
