"""Test a trained model on held-out structures, and keep some of its reconstructions."""

import io

import lightning as L
import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from tqdm import tqdm

from ..config.hparams import Hparams
from ..data.crops.dataset import CropDataset, collate_crops
from ..models.vae.metrics import calc_r2
from ..models.vae.vae import VAE
from ..records.metrics import append_metrics
from ..records.record import RunPaths
from ..text.files import write_atomic
from .checkpoints import load_best_checkpoint
from .feed import CropFeed
from .module import VAEModule

STORED_STEP = 1 / 128
"""Reconstructions are rounded to this fraction of a voxel, so that they pack well."""


def test_best(trainer: L.Trainer, module: VAEModule, feed: CropFeed, paths: RunPaths) -> dict:
    """The row of test.csv; leaves the module with the weights of the best validation."""
    checkpoint = load_best_checkpoint(paths)
    module.load_state_dict(checkpoint["state_dict"])
    trainer.test(module, feed, verbose=False)
    return {"step": checkpoint["global_step"], **module.held_out_metrics}


def write_test_results(row: dict, module: VAEModule, feed: CropFeed, paths: RunPaths):
    """Write test.csv, a row of it, and reconstructions.npz."""
    paths.test_metrics.unlink(missing_ok=True)
    append_metrics(paths.test_metrics, row)

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **make_reconstructions(module, feed))
    write_atomic(paths.reconstructions, buffer.getvalue())


def calc_test_metrics(model: VAE, hparams: Hparams, dataset: CropDataset) -> dict[str, float]:
    """What test.csv holds, of a model on any crops; in the model's precision, on its device."""
    module = VAEModule(model, hparams, dataset).eval()
    module.on_test_epoch_start()
    batches = torch.arange(len(dataset)).split(hparams.optim.batch_size)
    with torch.no_grad():
        for index, batch in enumerate(tqdm(batches, unit="batch", leave=False, disable=None)):
            crops = collate_crops([dataset[i] for i in batch.tolist()])
            module.test_step(move_data_to_device(crops, model.image_std.device), index)
        module.on_test_epoch_end()
    return module.held_out_metrics


def make_reconstructions(module: VAEModule, feed: CropFeed) -> dict[str, np.ndarray]:
    """The worst, the median and the best reconstruction of the test crops, by R².

    returns: rank [3], sample_index [3], r2 [3], structure [3], image and reconstruction
             [3, C, X, Y, Z], and for each k the atoms of the crop, coords_A_k [n, 3] and
             channels_k [n]
    """
    dataset = feed.datasets["test"]
    model = module.model.eval()
    samples = [dataset[index] for index in range(len(dataset))]
    r2 = []
    with torch.no_grad():
        for sample in samples:
            image = dataset.make_images(move_data_to_device(collate_crops([sample]), module.device))
            r2.append(calc_r2(image, model(image)).item())
        by_r2 = np.argsort(r2)
        chosen = [by_r2[0], by_r2[len(by_r2) // 2], by_r2[-1]]
        batch = move_data_to_device(
            collate_crops([samples[i] for i in chosen]), module.device
        )
        images = dataset.make_images(batch)
        reconstructions = model(images)

    def pack(images):
        return ((images / STORED_STEP).round() * STORED_STEP).cpu().numpy().astype(np.float16)

    crops = [samples[i][1] for i in chosen]
    return {
        "rank": np.array(["worst", "median", "best"]),
        "sample_index": np.array(chosen),
        "r2": np.array([r2[i] for i in chosen], dtype=np.float32),
        "structure": np.array([crop.structure for crop in crops]),
        "image": pack(images),
        "reconstruction": pack(reconstructions),
        **{f"coords_A_{k}": crop.coords_A for k, crop in enumerate(crops)},
        **{f"channels_{k}": crop.channels.astype(np.uint8) for k, crop in enumerate(crops)},
    }
