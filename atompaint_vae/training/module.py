"""The training step of any kind of model, as Lightning sees it."""

import lightning as L
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..config.datasets import SEED_OF_SPLIT
from ..config.schema import Hparams
from ..data.crops.dataset import CropBatch, CropDataset, collate_crops
from ..models.kind import get_kind
from ..models.noise import Noise
from ..nn.distributed import count_processes, sum_over_processes
from ..nn.norm import IrrepsNorm, recompute_statistics
from .feed import move_batch

NUM_STATISTICS_BATCHES = 16
"""Batches to recompute the normalisation statistics of averaged weights."""


class WeightAverage(AveragedModel):
    """Exponential moving average of a model's weights.

    As torch's, which reads from the device at each step whether it is the first; here, only the
    first of a session is asked.
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        super().__init__(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self._has_begun = False

    def update_parameters(self, model: torch.nn.Module):
        if not self._has_begun:
            super().update_parameters(model)
            self._has_begun = True
            return
        self.multi_avg_fn([*self.module.parameters()], [*model.parameters()], self.n_averaged)
        for own, other in zip(self.module.buffers(), model.buffers(), strict=True):
            own.copy_(other)
        self.n_averaged += 1


class TrainingModule(L.LightningModule):
    """Losses, optimiser and held-out metrics of one run.

    The noise of each sample depends only on the run's seed, the sample's index and the stream's
    name, so that neither interruptions nor the number of processes change it.

    frozen:  the model's frozen parts, which stay in eval mode
    average: exponential moving average of the weights, None without one
    """

    def __init__(self, model: torch.nn.Module, hparams: Hparams, dataset: CropDataset):
        super().__init__()
        self.frozen = _find_frozen(model)
        self.model = model
        self.run_hparams = hparams
        self.dataset = dataset
        self.kind = get_kind(hparams.kind)
        make_objective = self.kind.load_objective()
        self.objective = make_objective(model, hparams, dataset)
        self.held_out_objective = self.objective
        self.average: AveragedModel | None = None
        if hparams.optim.ema_decay:
            self.average = WeightAverage(model, hparams.optim.ema_decay).requires_grad_(False)
            self.held_out_objective = make_objective(self.average.module, hparams, dataset)
        self.held_out_metrics: dict[str, float] = {}
        self.train()  # Lightning starts in the modes that it finds

    def train(self, mode: bool = True) -> "TrainingModule":
        super().train(mode)
        for module in (*self.frozen, *filter(None, [self.average])):
            module.eval()
        return self

    def configure_optimizers(self):
        optim, train = self.run_hparams.optim, self.run_hparams.train
        optimizer = torch.optim.Adam(self._group_parameters(), lr=optim.learning_rate)
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

    def _group_parameters(self) -> list[dict]:
        """Return the trained parameters, those of each learning rate together."""
        rate, groups = self.run_hparams.optim.learning_rate, {}
        factors = self.objective.scale_learning_rates()
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                own = (x for part, x in factors.items() if name.startswith(f"{part}."))
                groups.setdefault(next(own, 1.0), []).append(parameter)
        return [{"params": found, "lr": factor * rate} for factor, found in groups.items()]

    def _make_noise(self, batch: CropBatch) -> Noise:
        return Noise(self.run_hparams.seed, batch.sample_index)

    def training_step(self, batch: CropBatch, batch_index: int) -> dict[str, Tensor]:
        inputs = self.objective.make_training_inputs(batch)
        losses = self.objective.calc_losses(inputs, self._make_noise(batch), self.global_step)
        in_order = [losses[name] for name in self.kind.losses]
        # The loss itself stays that of this process: DDP averages its gradients.
        averaged = sum_over_processes(torch.stack(in_order).detach()) / count_processes()
        return {"loss": in_order[0], "losses": averaged}

    def optimizer_step(self, *args, **kwargs):
        super().optimizer_step(*args, **kwargs)
        # Not in a later hook, so that every checkpoint of the step contains it.
        if self.average is not None:
            self.average.update_parameters(self.model)

    def on_validation_epoch_start(self):
        if self.average is not None and self.trainer.state.fn == "fit":
            self._recompute_statistics()
        self.held_out_objective.begin_held_out()

    def validation_step(self, batch: CropBatch, batch_index: int):
        self._add_held_out(batch, SEED_OF_SPLIT["validation"])

    def on_validation_epoch_end(self):
        self.held_out_metrics = self.held_out_objective.calc_metrics()

    def on_test_epoch_start(self):
        self.held_out_objective.begin_held_out(self.trainer.datamodule.datasets["test"])

    def test_step(self, batch: CropBatch, batch_index: int):
        self._add_held_out(batch, SEED_OF_SPLIT["test"])

    def on_test_epoch_end(self):
        self.on_validation_epoch_end()

    def _add_held_out(self, batch: CropBatch, seed: int):
        inputs = self.held_out_objective.make_inputs(batch, seed)
        self.held_out_objective.add_held_out(inputs, self._make_noise(batch))

    def _recompute_statistics(self):
        """Recompute the averaged weights' normalisation statistics from an epoch's first crops.

        Those of frozen parts stay as they are.  Each process computes its share of the batches, as
        in training.
        """
        frozen = {module for part in self.frozen for module in part.modules()}
        trained = torch.nn.ModuleList(
            self.average.module.get_submodule(name)
            for name, module in self.model.named_modules()
            if isinstance(module, IrrepsNorm) and module not in frozen
        )
        own = self.run_hparams.optim.batch_size // count_processes()
        first = self.global_rank * own
        batches = range(first, len(self.dataset), self.run_hparams.optim.batch_size)

        def run_batch(start: int):
            crops = collate_crops([self.dataset[i] for i in range(start, start + own)])
            batch = move_batch(crops, self.device)
            inputs = self.objective.make_training_inputs(batch)
            noise = self._make_noise(batch)
            self.held_out_objective.calc_losses(inputs, noise, self.global_step)

        with torch.no_grad():
            recompute_statistics(trained, run_batch, batches[:NUM_STATISTICS_BATCHES])


def _find_frozen(model: torch.nn.Module) -> tuple[torch.nn.Module, ...]:
    """Return the parts of a model whose parameters all don't require gradients."""
    return tuple(
        module
        for module in model.modules()
        if (found := [*module.parameters()]) and not any(p.requires_grad for p in found)
    )
