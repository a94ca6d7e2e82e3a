"""Test a trained model on held-out structures, and write the results."""

import lightning as L
import torch
from tqdm import tqdm

from ..config.schema import Hparams
from ..data.crops.dataset import CropDataset, collate_crops
from ..models.kind import get_kind
from ..models.noise import Noise
from ..records.metrics import append_metrics
from ..records.record import RunPaths
from ..records.validations import find_best_validation
from ..text.files import write_atomic
from .checkpoints import Diverged, load_best_checkpoint
from .feed import CropFeed, move_batch
from .module import TrainingModule
from .processes import Processes


def test_best(
    trainer: L.Trainer,
    module: TrainingModule,
    feed: CropFeed,
    paths: RunPaths,
    processes: Processes,
) -> dict:
    """Return the row of test.csv; loads the weights of the best validation into the module.

    raises: Diverged if no validation had a finite metric
    """
    checkpoint = None
    if processes.is_first and find_best_validation(paths, module.kind) is not None:
        checkpoint = load_best_checkpoint(paths)
    checkpoint = processes.share(checkpoint)
    if checkpoint is None:
        raise Diverged(f"no validation had a number for {module.kind.best.symbol}")
    module.load_state_dict(checkpoint["state_dict"])
    trainer.test(module, feed, verbose=False)
    module.to(trainer.strategy.root_device)  # Lightning leaves it on the CPU
    return {"step": checkpoint["global_step"], **module.held_out_metrics}


def write_test_results(row: dict, module: TrainingModule, feed: CropFeed, paths: RunPaths):
    """Write test.csv, with one row, and the kind's artifacts."""
    paths.test_metrics.unlink(missing_ok=True)
    append_metrics(paths.test_metrics, row)
    objective = module.held_out_objective
    objective.model.eval()
    for name, content in objective.make_artifacts(feed.datasets["test"], module.device).items():
        write_atomic(paths.run_dir / name, content)


def calc_test_metrics(
    model: torch.nn.Module, hparams: Hparams, dataset: CropDataset
) -> dict[str, float]:
    """Return the metrics of test.csv for a model on any crops, in its precision, on its device."""
    objective = get_kind(hparams.kind).load_objective()(model.eval(), hparams, dataset)
    device = next(model.parameters()).device
    objective.begin_held_out(dataset)
    batches = torch.arange(len(dataset)).split(hparams.optim.batch_size)
    with torch.no_grad():
        for batch in tqdm(batches, unit="batch", leave=False, disable=None):
            crops = collate_crops([dataset[i] for i in batch.tolist()])
            inputs = objective.make_inputs(move_batch(crops, device), dataset.seed)
            objective.add_held_out(inputs, Noise(hparams.seed, crops.sample_index))
        return objective.calc_metrics()
