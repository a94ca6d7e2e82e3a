"""The interface of objectives: build the model, calculate losses and held-out metrics."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.crops.dataset import CropBatch, CropDataset
from ..text.located import Located, Problem
from .kind import Size
from .noise import Noise


class Objective(ABC):
    """The part of training that depends on the kind of model.

    model:   the trained module, or the average of its weights
    hparams: of the run
    dataset: makes the images of batches; None to find a step's cost

    `make_inputs` converts crops to a kind's inputs, which `add_held_out` takes, and `calc_losses`
    where `make_training_inputs` doesn't return others.
    Parts of the model whose parameters don't require gradients are frozen: they stay in eval mode.
    Methods that aren't abstract have usable defaults.
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
        """Return the model with initial weights, from torch's present random state.

        image_std: standard deviation of the training images
        inputs:    the models that the kind's `inputs` and `initial` name, by key; those of
                   `initial` are missing when trained weights are to be loaded
        raises:    ValueError if the hyperparameters don't fit together
        """

    @classmethod
    def describe_inputs(
        cls, hparams: Any, model: nn.Module, inputs: Mapping[str, nn.Module]
    ) -> str | None:
        """Return a plan's note on what a new model took over from its inputs, or None."""
        return None

    @classmethod  # noqa: B027 (optional)
    def calibrate(cls, model: nn.Module, dataset: CropDataset):
        """Measure what a new model needs to know of the training crops, and store it in it.

        The model and the crops' images are on the CPU.

        raises: UserError if no model can be trained on them
        """

    def prepare(self, cache: Path, device: torch.device):  # noqa: B027 (optional)
        """Compute, in each process, what training needs and what takes long.

        cache:  folder to keep it in, which may be missing
        device: of the training
        """

    @abstractmethod
    def calc_losses(self, inputs: Any, noise: Noise, step: int) -> dict[str, Tensor]:
        """Return the kind's `losses` at a training step, averaged over the batch."""

    @abstractmethod
    def begin_held_out(self, test: CropDataset | None = None):
        """Reset the metrics of held-out crops.

        test: the crops of a test, which may take longer than a validation; None in a validation
        """

    @abstractmethod
    def add_held_out(self, inputs: Any, noise: Noise):
        """Add a batch of held-out crops to the metrics.

        Processes have different numbers of batches, so this must not wait for the others.
        """

    @abstractmethod
    def calc_metrics(self) -> dict[str, float]:
        """Return the metrics of all processes' held-out crops: a row of val.csv or test.csv."""

    def scale_learning_rates(self) -> dict[str, float]:
        """Return factors of the learning rate, by the names of the parts they apply to."""
        return {}

    def estimate_test(self) -> float:
        """Return the number of held-out crops that take as long as the rest of a test."""
        return 0.0

    def make_inputs(self, batch: CropBatch, seed: int) -> Any:
        """Return the inputs of a batch of crops: their images [b, c, x, y, z].

        seed: of the dataset, for kinds that choose more than the crop at random
        """
        return self.dataset.make_images(batch)

    def make_training_inputs(self, batch: CropBatch) -> Any:
        """Return the inputs of a batch of training crops."""
        return self.make_inputs(batch, self.dataset.seed)

    @classmethod
    def make_empty_inputs(cls, model: nn.Module, batch_size: int) -> Any:
        """Return inputs for finding a step's cost; only their shapes matter."""
        return torch.empty(batch_size, *model.image_shape)

    @classmethod
    def find_layers(cls, model: nn.Module) -> dict[str, tuple[nn.Module, str, str]]:
        """Return each layer of a plan, with its field types, in the order of the data flow."""
        children = {name: x for name, x in model.named_children() if [*x.parameters()]}
        return {name: (module, "", "") for name, module in children.items()}

    @classmethod
    def describe_sizes(cls, model: nn.Module) -> dict[str, Size]:
        """Return the model's sizes for the record, besides its number of parameters."""
        return {}

    @classmethod
    def check(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        """Yield problems of well-formed hyperparameters that don't fit together.

        hparams: its sections; None for ill-formed ones
        written: the values with their places
        """
        return iter(())

    @classmethod
    def check_sizes(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        """Yield warnings of unusual values, which a search treats as infeasible."""
        return iter(())

    @classmethod
    def check_effects(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        """Yield warnings of values without the intended effect, which a search allows.

        hparams: of a well-formed run
        """
        return iter(())

    @classmethod
    def check_input(
        cls, key: str, hparams: Any, source: Any, written: Located
    ) -> Iterator[Problem]:
        """Yield problems of a model that doesn't fit the one it is named in.

        key:    of `model`, one of the kind's `inputs` or `initial`
        source: hyperparameters of the model that the key names
        """
        return iter(())

    @classmethod
    def check_devices(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        """Yield problems of hyperparameters that don't work if several devices share a batch."""
        return iter(())

    def make_artifacts(self, dataset: CropDataset, device: torch.device) -> dict[str, bytes]:
        """Return the contents of the kind's `artifacts`, from the test's crops."""
        return {}
