"""What a classifier predicts for clean and for noisy views.

Letters: n pairs of views.
"""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from ...analysis.intervals import calc_share_interval
from ...data.crops.dataset import CropBatch, CropDataset, collate_crops
from ..noise import Noise
from .classifier import NeighborClassifier
from .hparams import ViewsHparams
from .views import FACES, ViewPair, make_views, place_views

LEVELS = {
    "atoms": (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0),
    "voxels": (0.0, 0.1, 0.25, 0.5, 1.0, 2.0),
}
"""Standard deviations of the noise: of atoms along each axis [Å]; of voxels, relative to
`image_std`."""

Predictions = Mapping[tuple[str, float], Int[Tensor, "n 2"]]
"""For each kind and level of noise, the face and the predicted one of each pair."""


def list_structures(dataset: CropDataset) -> list[str]:
    """Return the name of the structure of each crop."""
    return [crop.structure for _, crop in dataset]


def predict_under_noise(
    model: NeighborClassifier,
    dataset: CropDataset,
    views: ViewsHparams,
    *,
    device: torch.device,
    batch_size: int,
) -> Predictions:
    """Return what a model predicts for the views of each crop.

    The noise of a pair depends only on the dataset's seed and on its number; at another level it
    is the same, scaled.
    """
    found: dict[tuple[str, float], list[Tensor]] = {}
    options = {"device": device, "batch_size": batch_size}
    for noise, pairs in iter_displaced_views(dataset, views, LEVELS["atoms"], **options):
        clean, face = pairs[0.0]
        voxel_noise = model.image_std * noise.draw_normal(clean, "voxels")
        noisy = {("atoms", level): pair.images for level, pair in pairs.items()}
        noisy |= {("voxels", level): clean + level * voxel_noise for level in LEVELS["voxels"]}
        for key, images in noisy.items():
            with torch.no_grad():
                predicted = model(images).argmax(dim=1)
            found.setdefault(key, []).append(torch.stack([face, predicted], dim=1).cpu())
    return {key: torch.cat(rows) for key, rows in found.items()}


def iter_displaced_views(
    dataset: CropDataset,
    views: ViewsHparams,
    levels_A: Sequence[float],
    *,
    device: torch.device,
    batch_size: int,
) -> Iterator[tuple[Noise, dict[float, ViewPair]]]:
    """Yield the noise of each batch of crops, and their views with displaced atoms at each level.

    The views are where they are without displacements.

    levels_A: standard deviations along each axis
    """
    for indices in torch.arange(len(dataset)).split(batch_size):
        crops = collate_crops([dataset[i] for i in indices.tolist()])
        batch = CropBatch(*(x.to(device) for x in crops))
        noise = Noise(dataset.seed, crops.sample_index)
        placement = place_views(batch, noise, views, resolution_A=dataset.resolution_A)
        displacement = noise.draw_displacements(batch)
        pairs = {}
        for level_A in levels_A:
            moved = batch._replace(coords_A=batch.coords_A + level_A * displacement)
            pairs[level_A] = make_views(dataset, moved, views, placement)
        yield noise, pairs


def tabulate_confusion(predictions: Predictions) -> pd.DataFrame:
    """Return the confusion matrix of clean views: counts of true by predicted face."""
    face, predicted = predictions["atoms", 0.0].unbind(1)
    matrix = multiclass_confusion_matrix(predicted, face, len(FACES))
    table = pd.DataFrame(matrix.numpy(), columns=FACES)
    table.insert(0, "face", FACES)
    return table


def tabulate_accuracy(predictions: Predictions, structures: Sequence[str]) -> pd.DataFrame:
    """Return the accuracy at each level of noise, with a 95 % interval over the structures."""
    rows = []
    for (kind, level), faces in predictions.items():
        hits = (faces[:, 0] == faces[:, 1]).double().numpy()
        low, high = calc_share_interval(hits, structures)
        rows.append((kind, level, hits.mean(), low, high, len(hits)))
    columns = ["noise", "level", "accuracy", "low", "high", "num_pairs"]
    return pd.DataFrame(rows, columns=columns)
