"""What a kind of model computes: the module, losses of a batch, metrics of held-out crops."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..data.crops.dataset import CropBatch, CropDataset
from ..text.located import Located, Problem
from .kind import Size
from .noise import Noise


class Objective(ABC):
    """The part of a run that its kind decides.

    model:   the module that is trained, or an average of its weights
    hparams: of the run
    dataset: makes the images of batches; None where only a step's cost is asked for

    A kind's batches are what `make_inputs` makes of crops; `calc_losses` and `add_held_out` take
    them. Methods that aren't abstract may be left as they are.
    """

    def __init__(self, model: nn.Module, hparams: Any, dataset: CropDataset | None):
        self.model = model
        self.hparams = hparams
        self.dataset = dataset

    @classmethod
    @abstractmethod
    def build_model(
        cls, hparams: Any, *, image_std: float = 1.0, inputs: Mapping[str, nn.Module] | None = None
    ) -> nn.Module:
        """Return the model with fresh weights, from torch's present random state.

        image_std: standard deviation of the training images
        inputs:    the frozen models that the kind's `inputs` name
        raises:    ValueError if the hyperparameters don't fit together
        """

    @abstractmethod
    def calc_losses(self, inputs: Any, noise: Noise) -> dict[str, Tensor]:
        """Return the kind's `losses` of a batch, averaged over it."""

    @abstractmethod
    def begin_held_out(self):
        """Forget what was added to the metrics of held-out crops."""

    @abstractmethod
    def add_held_out(self, inputs: Any, noise: Noise):
        """Count a batch of held-out crops in; the first that each process sees may be its example.

        Batches of the processes are of different number, so nothing may wait for the others here.
        """

    @abstractmethod
    def calc_metrics(self) -> dict[str, float]:
        """Return the metrics of all held-out crops of all processes: a row of val.csv, test.csv."""

    def make_inputs(self, batch: CropBatch) -> Any:
        """Return the inputs of a batch of crops: their images [b, c, x, y, z]."""
        return self.dataset.make_images(batch)

    @classmethod
    def make_empty_inputs(cls, model: nn.Module, batch_size: int) -> Any:
        """Return inputs of which only the shapes count, to find a step's cost."""
        return torch.empty(batch_size, *model.image_shape)

    @classmethod
    def find_layers(cls, model: nn.Module) -> dict[str, tuple[nn.Module, str, str]]:
        """Return each layer that a plan lists, with its field types, in the order of the data."""
        children = {name: x for name, x in model.named_children() if [*x.parameters()]}
        return {name: (module, "", "") for name, module in children.items()}

    @classmethod
    def describe_sizes(cls, model: nn.Module) -> dict[str, Size]:
        """Return what sums up the model's size, besides its parameters, for the record."""
        return {}

    @classmethod
    def check(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        """Yield problems of well-formed hyperparameters that don't fit together.

        hparams: those sections `model` and `data` that are well formed, None for others
        written: the values at their places
        """
        return iter(())

    @classmethod
    def check_sizes(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        """Yield warnings of what may be meant, but seldom is; a search takes it for infeasible."""
        return iter(())

    @classmethod
    def check_devices(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        """Yield problems of hyperparameters with which several devices can't share a batch."""
        return iter(())

    def make_artifacts(self, dataset: CropDataset, device: torch.device) -> dict[str, bytes]:
        """Return the contents of the kind's `artifacts`, made of the test's crops."""
        return {}
