"""The objective of neighbor location: cross entropy, held-out accuracy, checks."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from ...analysis.intervals import calc_interval, calc_share_interval
from ...data.crops.dataset import CropBatch, CropDataset
from ...data.crops.voxelize import CHANNELS
from ...nn.distributed import sum_over_processes
from ...text.located import Located, Problem, find_value
from ..blocks import make_options
from ..checks import check_network
from ..kind import Size
from ..noise import Noise
from ..objective import Objective
from .classifier import NeighborClassifier
from .robustness import list_structures, predict_under_noise, tabulate_accuracy, tabulate_confusion
from .views import FACES, ViewPair, calc_min_size_voxels, make_views, place_views


class NeighborObjective(Objective):
    """The cross entropy of the face of the first view that the second view is beside."""

    model: NeighborClassifier

    @classmethod
    def build_model(
        cls, hparams: Any, *, image_std: float = 1.0, inputs: Mapping[str, nn.Module] | None = None
    ) -> NeighborClassifier:
        model = hparams.model
        return NeighborClassifier(
            model.layers,
            model.features,
            num_channels=len(CHANNELS),
            size_voxels=model.views.size_voxels,
            head=model.head,
            mlp_width=model.mlp_width,
            gap_A=(model.views.min_gap_A + model.views.max_gap_A) / 2,
            image_std=image_std,
            downsampling=model.downsampling,
            alignment=model.alignment,
            **make_options(model),
        )

    def make_inputs(self, batch: CropBatch, seed: int) -> ViewPair:
        views, noise = self.hparams.model.views, Noise(seed, batch.sample_index)
        placement = place_views(batch, noise, views, resolution_A=self.dataset.resolution_A)
        return make_views(self.dataset, batch, views, placement)

    @classmethod
    def make_empty_inputs(cls, model: NeighborClassifier, batch_size: int) -> ViewPair:
        images = torch.empty(batch_size, 2, *model.image_shape)
        return ViewPair(images, torch.zeros(batch_size, dtype=torch.int64))

    def calc_losses(self, inputs: ViewPair, noise: Noise, step: int) -> dict[str, Tensor]:
        return {"loss": F.cross_entropy(self.model(inputs.images), inputs.face)}

    def begin_held_out(self, test: CropDataset | None = None):
        self._loss = MeanMetric()
        self._accuracy = MulticlassAccuracy(len(FACES), average="micro")
        self._test = test
        num_crops = 0 if test is None else len(test)
        self._losses, self._hits = torch.zeros(2, num_crops)

    def add_held_out(self, inputs: ViewPair, noise: Noise):
        logits, face = self.model(inputs.images), inputs.face
        for metric in (self._loss, self._accuracy):
            metric.to(logits.device)
        losses = F.cross_entropy(logits, face, reduction="none")
        self._loss.update(losses)
        self._accuracy.update(logits, face)
        if self._test is not None:
            self._losses[noise.sample_index] = losses.float().cpu()
            self._hits[noise.sample_index] = (logits.argmax(dim=1) == face).float().cpu()

    def calc_metrics(self) -> dict[str, float]:
        """Return the metrics of all held-out crops.

        loss_low, loss_high, accuracy_low, accuracy_high: of a test, the 95 % intervals over its
        structures
        """
        metrics = {
            "loss": self._loss.compute().item(),
            "accuracy": self._accuracy.compute().item(),
        }
        if self._test is not None:
            structures = list_structures(self._test)
            for name, values, calc in (
                ("loss", self._losses, calc_interval),
                ("accuracy", self._hits, calc_share_interval),
            ):
                values = sum_over_processes(values.to(self.model.image_std.device))
                metrics[f"{name}_low"], metrics[f"{name}_high"] = calc(
                    values.cpu().numpy(), structures
                )
        return metrics

    def make_artifacts(self, dataset: CropDataset, device: torch.device) -> dict[str, bytes]:
        predictions = predict_under_noise(
            self.model,
            dataset,
            self.hparams.model.views,
            device=device,
            batch_size=self.hparams.optim.batch_size,
        )
        tables = {
            "confusion.csv": tabulate_confusion(predictions),
            "noise.csv": tabulate_accuracy(predictions, list_structures(dataset)),
        }
        return {name: table.to_csv(index=False).encode() for name, table in tables.items()}

    @classmethod
    def find_layers(cls, model: NeighborClassifier) -> dict[str, tuple[nn.Module, str, str]]:
        """Return the encoder's convolutions, each with its nonlinearity, and the head."""
        layers, fields = {}, str(model.irreps_in)
        for i, block in enumerate(model.encoder.blocks):
            fields_in, fields = fields, str(block.field_type)
            layers[f"encoder.blocks.{i}"] = (block, fields_in, fields)
        layers["encoder.head"] = (model.encoder.head, fields, str(model.features))
        layers["head"] = (model.head, f"2 x ({model.features})", f"{len(FACES)} logits")
        return layers

    @classmethod
    def describe_sizes(cls, model: NeighborClassifier) -> dict[str, Size]:
        return {"features_shape": model.features_shape}

    @classmethod
    def check(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        model, data = hparams.model, hparams.data
        if model is None:
            return
        yield from check_network(model, model.views.size_voxels, written)
        yield from check_gaps(model, written)
        if model.alignment == "none" and model.downsampling == "pooled":
            yield Problem(
                find_value(written, "model", "alignment").place,
                "model.alignment: none is for strided convolutions, but model.downsampling is "
                "pooled; expected exact",
            )
        if model.head == "equivariant" and model.symmetry == "none":
            yield Problem(
                find_value(written, "model", "head").place,
                "model.head: an equivariant head needs model.symmetry rotation, not none",
            )
        if data is not None:
            yield from check_size(model, data, written)


def check_gaps(model: Any, written: Located) -> Iterator[Problem]:
    """Yield the problem of a smallest gap that is above the largest."""
    views = model.views
    if views.min_gap_A > views.max_gap_A:
        yield Problem(
            find_value(written, "model", "views", "min_gap_A").place,
            f"model.views.min_gap_A: {views.min_gap_A:g} is above model.views.max_gap_A "
            f"{views.max_gap_A:g}",
        )


def check_size(model: Any, data: Any, written: Located) -> Iterator[Problem]:
    """Yield the problem of crops too small for the views."""
    views = model.views
    least = calc_min_size_voxels(views, resolution_A=data.resolution_A)
    if data.size_voxels < least:
        yield Problem(
            find_value(written, "data", "size_voxels").place,
            f"data.size_voxels: {data.size_voxels} is too small for two views of "
            f"{views.size_voxels} voxels, up to {views.max_gap_A:g} Å apart and turned by up to "
            f"{views.max_turn_deg:g}°; expected at least {least}",
        )
