"""The training step: a VAE as Lightning sees it."""

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ..config.hparams import Hparams
from ..data.crops.dataset import CropBatch, CropDataset
from ..data.crops.voxelize import CHANNELS
from ..models.vae.loss import Loss, calc_loss
from ..models.vae.metrics import HeldOutMetrics
from ..models.vae.posterior import Posterior
from ..models.vae.vae import VAE
from ..nn.distributed import count_processes, sum_over_processes
from ..nn.equivariance import calc_equivariance_error

QUARTER_TURN = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
"""A rotation by 90°, which permutes the voxels."""

FREE_TURN = torch.linalg.matrix_exp(
    torch.tensor([[0, -0.5, 0.3], [0.5, 0, -0.4], [-0.3, 0.4, 0]], dtype=torch.float64)
)
"""A rotation by 0.71 rad about no axis of the cube."""


class VAEModule(L.LightningModule):
    """Loss, optimiser and held-out metrics of one run.

    The noise of each sample follows from the run's seed and the sample's number alone, so that
    neither an interruption nor the number of processes changes it.
    """

    def __init__(self, model: VAE, hparams: Hparams, dataset: CropDataset):
        super().__init__()
        self.model = model
        self.run_hparams = hparams
        self.dataset = dataset
        self.held_out_metrics: dict[str, float] = {}

    def configure_optimizers(self):
        optim, train = self.run_hparams.optim, self.run_hparams.train
        optimizer = torch.optim.Adam(self.model.parameters(), lr=optim.learning_rate)
        warmup = torch.optim.lr_scheduler.LinearLR(
            optimizer, 1 / (optim.warmup_steps + 1), total_iters=optim.warmup_steps
        )
        num_steps = train.epochs * train.steps_per_epoch
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, max(1, num_steps - optim.warmup_steps)
        )
        schedule = torch.optim.lr_scheduler.SequentialLR(
            optimizer, [warmup, decay], [optim.warmup_steps]
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: CropBatch, batch_index: int) -> dict[str, Tensor]:
        images = self.dataset.make_images(batch)
        posterior = self.model.encode(images)
        loss = self._calc_loss(images, posterior, batch.sample_index)
        # The first is of this process's part of the batch: its gradients are averaged, too.
        losses = sum_over_processes(torch.stack(loss).detach()) / count_processes()
        return {"loss": loss.total, "losses": losses}

    def _calc_loss(
        self,
        images: Float[Tensor, "b c x y z"],
        posterior: Posterior,
        sample_index: Int[Tensor, " b"],
    ) -> Loss:
        noise = self._sample_noise(posterior.mean, sample_index)
        reconstruction = self.model.decode(posterior.sample(noise))
        std = self.model.image_std
        return calc_loss(
            images / std,
            reconstruction / std,
            posterior,
            reduction=self.run_hparams.loss.reduction,
            beta=self.run_hparams.loss.beta,
            free_nats=self.run_hparams.loss.free_nats,
        )

    def _sample_noise(
        self, like: Float[Tensor, "b c x y z"], sample_index: Int[Tensor, " b"]
    ) -> Float[Tensor, "b c x y z"]:
        noise = []
        for index in sample_index.tolist():
            sequence = np.random.SeedSequence(self.run_hparams.seed, spawn_key=(index,))
            seed = int(sequence.generate_state(1, np.uint64)[0])
            generator = torch.Generator().manual_seed(seed)
            noise.append(torch.randn(like.shape[1:], generator=generator))
        return torch.stack(noise).to(like, non_blocking=True)

    def on_validation_epoch_start(self):
        self._metrics = HeldOutMetrics(CHANNELS)

    def validation_step(self, batch: CropBatch, batch_index: int):
        images = self.dataset.make_images(batch)
        posterior = self.model.encode(images)
        loss = self._calc_loss(images, posterior, batch.sample_index)
        self._metrics.update(images, self.model.decode(posterior.mean), posterior, loss)
        if batch_index == 0:
            self._example = images[:1]

    def on_validation_epoch_end(self):
        self._metrics.add_other_processes()
        self.held_out_metrics = {
            **self._metrics.calc(),
            "beta": self.run_hparams.loss.beta,
            "compression_ratio": self.model.compression_ratio,
            "equivariance_error_90": self._calc_equivariance_error(QUARTER_TURN),
            "equivariance_error_free": self._calc_equivariance_error(FREE_TURN),
        }

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self):
        self.on_validation_epoch_end()

    def _calc_equivariance_error(self, rotation: Float64[Tensor, "3 3"]) -> float:
        """Of the reconstruction of one held-out crop: in the first process, the first of all."""
        irreps = self.model.irreps_in
        return calc_equivariance_error(
            self.model, self._example, irreps_in=irreps, irreps_out=irreps, rotation=rotation
        )
