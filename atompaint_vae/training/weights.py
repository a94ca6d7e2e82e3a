"""Load the weights of published models, which come with the package, and of runs, by name.

A published model is a folder of `atompaint_vae/pretrained`: hparams.nt, record.nt and test.csv are
the run's own; weights.sha256 is in the form that `sha256sum --check` reads.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from ..config.checks import CheckedExperiment
from ..config.hparams import load_resolved
from ..config.schema import Hparams
from ..models.kind import get_kind
from ..records.find import UnknownRunError, find_expts_dir, find_runs
from ..records.record import RunPaths, RunRecord, find_run_state, load_record
from ..text.errors import UserError
from ..text.located import Problem, find_value
from ..text.suggest import suggest

PRETRAINED_DIR = Path(__file__).parents[1] / "pretrained"
BEST = "finer-wide-10"
WEIGHTS = "weights.safetensors"
HASH = "weights.sha256"


class PretrainedError(ValueError):
    """An unknown model, or one that isn't what was published; one line."""


class InputError(UserError):
    """A run can't start, since a model that it names is missing or has changed; one line."""


def list_pretrained() -> list[str]:
    """Return the names of the published models, in alphabetical order."""
    return sorted(path.parent.name for path in PRETRAINED_DIR.glob(f"*/{HASH}"))


def find_pretrained(name: str) -> RunPaths:
    """Return the paths of a published model, which are those of a run.

    raises: PretrainedError with the known names if there is no such model
    """
    known = list_pretrained()
    if name not in known:
        raise PretrainedError(f"unknown model {name!r}; known: {', '.join(known) or 'none'}")
    return RunPaths(PRETRAINED_DIR / name)


def load_pretrained(name: str = BEST) -> nn.Module:
    """Return a published model in float32, on the CPU, in eval mode.

    A VAE is ready for `encode`, `decode` and `sample`.  Loading executes no code from the file of
    weights, and checks its SHA-256.  Torch's random state stays unchanged.

    raises: PretrainedError if there is no such model, or its weights aren't the published ones
    """
    paths = find_pretrained(name)
    return make_trained(paths, load_weights(paths.run_dir))


def load_pretrained_hparams(name: str = BEST) -> Hparams:
    """Return the hyperparameters of a published model; `data` describes its images.

    raises: PretrainedError if there is no such model
    """
    return load_resolved(find_pretrained(name).hparams)


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a published model's folder, by name.

    raises: PretrainedError if the file's SHA-256 isn't the one beside it
    """
    path = folder / WEIGHTS
    content = path.read_bytes()
    expected = (folder / HASH).read_text("utf-8").split()[0]
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise PretrainedError(f"{path}: its SHA-256 is {found}, but {expected} was published")
    return safetensors.torch.load(content)


def make_trained(
    paths: RunPaths, weights: Mapping[str, Tensor], *, size_voxels: int | None = None
) -> nn.Module:
    """Return the model of a run or of a published model, in float32 and in eval mode.

    size_voxels: side of the images, for a model without parameters that depend on it; by default
                 that of the training
    raises:      ValueError if images of this side can't be halved as often as there are layers
    """
    hparams = load_resolved(paths.hparams)
    if size_voxels is not None:
        data = hparams.data.model_copy(update={"size_voxels": size_voxels})
        hparams = hparams.model_copy(update={"data": data})
    objective = get_kind(hparams.kind).load_objective()
    with torch.random.fork_rng(devices=[]), _use_float32():
        inputs = load_inputs(hparams, paths.expt_dir, get_kind(hparams.kind).inputs)
        if paths.record.exists():
            inputs.check(load_record(paths.record), paths)
        model = objective.build_model(hparams, inputs=inputs.modules)
    model.load_state_dict(weights)
    return model.eval()


@contextmanager
def _use_float32() -> Iterator[None]:
    """Build modules in float32, whatever torch's default is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def load_trained(name: str, expt_dir: Path) -> tuple[nn.Module, Hparams]:
    """Return a trained model, in float32, on the CPU, in eval mode, and its hyperparameters.

    name:     of a published model, or `experiment/run`
    expt_dir: of any experiment of the run's notebook
    raises:   ValueError if there is no such model, or its weights aren't on this machine
    """
    paths = find_model(name, expt_dir)
    model = make_trained(paths, load_model_weights(paths)).requires_grad_(False)
    return model, load_resolved(paths.hparams)


def select_weights(state: Mapping[str, Tensor], hparams: Hparams) -> dict[str, Tensor]:
    """Return a model's tensors from a checkpoint's; the averaged ones if the run has them."""
    prefix = "average.module." if hparams.optim.ema_decay else "model."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def pack_weights(weights: Mapping[str, Tensor]) -> bytes:
    """Return tensors in the safetensors format, whose SHA-256 is recorded."""
    contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
    return safetensors.torch.save(contiguous, metadata={"format": "pt"})


def load_run_weights(paths: RunPaths) -> dict[str, Tensor]:
    """Return the weights of a finished run's best validation.

    raises: UserError if the run isn't finished, or its weights aren't on this machine
    """
    from .checkpoints import load_checkpoint  # imports Lightning; published models don't need it

    state = find_run_state(paths)
    if state != "finished":
        raise UserError(f"{paths.run_dir}: the run is {state}, not finished")
    if not paths.best.exists():
        hint = f"./train.py --weights {paths.name} trains them again"
        raise UserError(f"{paths.best}: no such file: the weights aren't on this machine; {hint}")
    return select_weights(load_checkpoint(paths.best)["state_dict"], load_resolved(paths.hparams))


@dataclass(frozen=True)
class InputModels:
    """The models that a run's hyperparameters name, and the SHA-256 of their weights, by key."""

    modules: dict[str, nn.Module] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def image_std(self) -> float | None:
        """What the models divide images by, which the run's own model has to do as well."""
        found = (getattr(x, "image_std", None) for x in self.modules.values())
        return next((float(std) for std in found if std is not None), None)

    def check(self, record: RunRecord, paths: RunPaths):
        """Raise InputError if these aren't the models that a run was trained with."""
        changed = [x for x, digest in self.hashes.items() if record.inputs.get(x) != digest]
        if changed:
            raise InputError(
                f"{paths.record}: {', '.join(changed)} has other weights than when the run "
                f"started; train.py --restart {paths.name} trains it from scratch"
            )


def load_inputs(
    hparams: Hparams, expt_dir: Path, keys: Collection[str] | None = None
) -> InputModels:
    """Return the models that a run's hyperparameters name.

    expt_dir: of the run; the models are runs of the same notebook, or published
    keys:     of `model`; by default all that training needs
    raises:   InputError with the key if there is no such model, or its weights aren't here
    """
    found = InputModels()
    for key, name in list_sources(hparams).items():
        if keys is not None and key not in keys:
            continue
        try:
            module, digest = _load_input(name, expt_dir)
        except ValueError as error:
            raise InputError(f"model.{key}: {error}") from None
        found.modules[key] = module
        found.hashes[f"model.{key}"] = digest
    return found


def list_sources(hparams: Hparams) -> dict[str, str]:
    """Return the names of the models that training needs, by their keys of `model`."""
    kind = get_kind(hparams.kind)
    names = {key: getattr(hparams.model, key) for key in (*kind.inputs, *kind.initial)}
    return {key: name for key, name in names.items() if name}


def make_planned_inputs(
    hparams: Hparams, expt_dir: Path, planned: Mapping[str, Hparams]
) -> tuple[dict[str, nn.Module], set[str]]:
    """Return the models that a run names, by key, and the names of those without weights.

    These have initial weights: shapes, costs and times are the same.

    planned: hyperparameters of the runs of the same file, by `experiment/run`
    raises:  ValueError if there is no such model
    """
    modules, untrained = {}, set()
    for key, name in list_sources(hparams).items():
        try:
            modules[key], _ = _load_input(name, expt_dir)
        except (UnknownRunError, UserError):
            source = planned.get(name) or load_resolved(find_model(name, expt_dir).hparams)
            inputs, others = make_planned_inputs(source, expt_dir, planned)
            objective = get_kind(source.kind).load_objective()
            with torch.random.fork_rng(devices=[]):
                model = objective.build_model(source, inputs=inputs)
            modules[key] = model.eval().requires_grad_(False)
            untrained |= {name, *others}
    return modules, untrained


def check_inputs(
    checked: CheckedExperiment, expt_dir: Path, names: Collection[str] = ()
) -> Iterator[Problem]:
    """Yield problems of the models that runs name: those that can't be had, or don't fit.

    names: runs to train, in the order of the file; all if empty
    """
    for name, hparams in checked.runs.items():
        if names and name not in names:
            continue
        written = checked.values[name]
        for key, source in list_sources(hparams).items():
            try:
                found = _find_source(source, name, checked, expt_dir, names)
            except ValueError as error:
                place = find_value(written, "model", key).place
                yield Problem(place, f"model.{key}: {error}")
            else:
                objective = get_kind(hparams.kind).load_objective()
                yield from objective.check_input(key, hparams, found, written)


def _find_source(
    source: str, name: str, checked: CheckedExperiment, expt_dir: Path, names: Collection[str]
) -> Hparams:
    """Return the hyperparameters of a model that a run names.

    raises: ValueError if there is no such model, or none that is trained before the run
    """
    experiment, _, own = source.rpartition("/")
    runs = [*checked.runs]
    if experiment == expt_dir.resolve().name and own in runs:
        if own == name:
            raise UserError(f"{source} is this run itself")
        if runs.index(own) > runs.index(name):
            raise UserError(f"{source} comes later in the file, so it is trained later")
        paths, hparams = RunPaths(expt_dir / "runs" / own), checked.runs[own]
        is_trained_now = not names or own in names
    else:
        paths = find_model(source, expt_dir)
        hparams, is_trained_now = load_resolved(paths.hparams), False
    state = find_run_state(paths)
    if state in ("failed", "pruned") and not is_trained_now:
        raise UserError(f"{source} is {state}, not finished")
    return hparams


def find_model(name: str, folder: Path) -> RunPaths:
    """Return the paths of `experiment/run`, or of a published model.

    folder: in the notebook of the run
    raises: PretrainedError or UserError if there is none of that name
    """
    if "/" not in name:
        if name not in list_pretrained():
            hint = suggest(name, list_pretrained())
            raise PretrainedError(f"{name!r}: neither a published model nor experiment/run; {hint}")
        return find_pretrained(name)
    found = find_runs(find_expts_dir(folder), [name])
    if len(found) != 1:
        raise UserError(f"{name!r} is not one run that has a record")
    return next(iter(found.values()))


def load_model_weights(paths: RunPaths) -> dict[str, Tensor]:
    """Return the weights of a run or of a published model.

    raises: PretrainedError as `load_weights`, UserError as `load_run_weights`
    """
    is_published = (paths.run_dir / HASH).exists()
    return load_weights(paths.run_dir) if is_published else load_run_weights(paths)


def _load_input(name: str, expt_dir: Path) -> tuple[nn.Module, str]:
    """Return a model and the SHA-256 of its weights."""
    paths = find_model(name, expt_dir)
    weights = load_model_weights(paths)
    model = make_trained(paths, weights)
    return model.requires_grad_(False), hashlib.sha256(pack_weights(weights)).hexdigest()
