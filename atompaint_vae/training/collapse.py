"""The alarm when a model no longer uses its latent: posterior collapse."""

import sys

import lightning as L
from tqdm import tqdm

from ..records.metrics import load_metrics
from ..records.record import RunPaths
from .module import VAEModule


def find_collapse(paths: RunPaths) -> int | None:
    """The step of the validation since which no unit of the latent was active; None if some are."""
    if not paths.val_metrics.exists():
        return None
    metrics = load_metrics(paths.val_metrics)
    if "active_units" not in metrics or not len(metrics):
        return None
    is_active = metrics["active_units"] != 0
    collapsed = metrics["step"][is_active.iloc[::-1].cumsum().iloc[::-1] == 0]
    return int(collapsed.iloc[0]) if len(collapsed) else None


def describe_collapse(metrics: dict[str, float]) -> str | None:
    """What says that the latent carries nothing; None if it carries something."""
    if metrics["active_units"] > 0:
        return None
    priors = [f"{key.removeprefix('prior_')} {value:.3g}" for key, value in metrics.items()
              if key.startswith("prior_") and key != "prior_loss"]
    return (
        f"the latent has collapsed: no unit is active, R² {metrics['r2']:.3f}, prior loss "
        f"{', '.join(priors)}; the decoder ignores it (a smaller beta or reduction: sum may help)"
    )


class CollapseAlarm(L.Callback):
    """Says once, after a validation, that no unit of the latent is active."""

    def __init__(self, name: str):
        self.name = name
        self.was_told = False

    def state_dict(self):
        return {"was_told": self.was_told}

    def load_state_dict(self, state):
        self.was_told = state["was_told"]

    def on_validation_end(self, trainer: L.Trainer, module: VAEModule):
        if trainer.state.fn != "fit" or self.was_told:
            return
        if text := describe_collapse(module.held_out_metrics):
            self.was_told = True
            # Through the progress bar, which would be broken otherwise.
            tqdm.write(f"{self.name}: step {trainer.global_step}: {text}", file=sys.stderr)
