"""Published models: weights that come with the package, beside what their runs recorded.

Each is a folder of `atompaint_vae/pretrained`: hparams.nt, record.nt and test.csv are the run's
own; weights.sha256 is in the form that `sha256sum --check` reads.
"""

import hashlib
from pathlib import Path

import safetensors.torch
import torch

from ..config.hparams import Hparams, load_resolved
from ..models.vae.vae import VAE
from ..records.record import RunPaths
from ..training.plan import build_model

PRETRAINED_DIR = Path(__file__).parents[1] / "pretrained"
BEST = "finer-wide-10"
WEIGHTS = "weights.safetensors"
HASH = "weights.sha256"


class PretrainedError(ValueError):
    """There is no such model, or it isn't what was published; one line."""


def list_pretrained() -> list[str]:
    """The names of the published models, in alphabetical order."""
    return sorted(path.parent.name for path in PRETRAINED_DIR.glob(f"*/{HASH}"))


def find_pretrained(name: str) -> RunPaths:
    """The folder of a published model, in which the run's records have their usual names.

    raises: PretrainedError, with the known names, if there is no such model
    """
    known = list_pretrained()
    if name not in known:
        raise PretrainedError(f"unknown model {name!r}; known: {', '.join(known) or 'none'}")
    return RunPaths(PRETRAINED_DIR / name)


def load_pretrained(name: str = BEST) -> VAE:
    """A published model in float32, on the CPU, ready for `encode`, `decode` and `sample`.

    Nothing in the file of weights is executed, and its SHA-256 is checked.  Torch's random state
    stays as it was.

    raises: PretrainedError if there is no such model, or its weights aren't those published
    """
    paths = find_pretrained(name)
    weights = load_weights(paths.run_dir)
    with torch.random.fork_rng(devices=[]):
        model = build_model(load_resolved(paths.hparams))
    model.load_state_dict(weights)
    return model.eval()


def load_pretrained_hparams(name: str = BEST) -> Hparams:
    """What a published model was trained with; its `data` says what its images are.

    raises: PretrainedError if there is no such model
    """
    return load_resolved(find_pretrained(name).hparams)


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a published model's folder, by name.

    raises: PretrainedError if the file's SHA-256 isn't the one beside it
    """
    path = folder / WEIGHTS
    content = path.read_bytes()
    expected = (folder / HASH).read_text("utf-8").split()[0]
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise PretrainedError(f"{path}: its SHA-256 is {found}, but {expected} was published")
    return safetensors.torch.load(content)
