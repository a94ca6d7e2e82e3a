"""Publish a finished run: weights and records in the package, a model card on the pages."""

import hashlib
import re
from pathlib import Path

from ..config.hparams import load_resolved
from ..config.schema import Hparams
from ..models.kind import get_kind
from ..records.metrics import load_metrics
from ..records.record import RunPaths, find_run_state, load_record, resolve_precision
from ..text.errors import UserError
from ..text.files import write_atomic
from ..training.checkpoints import load_checkpoint
from ..training.weights import HASH, WEIGHTS, pack_weights, select_weights
from .model_card import make_card

MAX_BYTES = 5_000_000
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


def publish_run(run_id: str, paths: RunPaths, folder: Path, card: Path) -> list[Path]:
    """Write the files of a published model, replacing existing ones, and return their paths.

    run_id: `experiment/run`, which the card refers to
    folder: of the model; its name is the model's name
    card:   path of the model's page

    raises: UserError if the run isn't finished, its best weights aren't here, aren't the tested
            ones or have more than 5 MB, or the name is invalid
    """
    if not NAME.fullmatch(folder.name):
        expected = "small letters, digits, '.' and '-'"
        raise UserError(f"a model's name is made of {expected}, got {folder.name!r}")
    content = make_weights(paths)
    hparams, record = load_resolved(paths.hparams), load_record(paths.record)
    hparams = resolve_precision(hparams, record.precision)
    texts = {card: _make_card(run_id, paths, folder.name, hparams)}
    for path in (paths.hparams, paths.record, paths.test_metrics):
        texts[folder / path.name] = path.read_text("utf-8")
    texts[folder / HASH] = f"{hashlib.sha256(content).hexdigest()}  {WEIGHTS}\n"
    for parent in (folder, card.parent):
        parent.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / WEIGHTS, content)
    for path, text in texts.items():
        write_atomic(path, text)
    return [folder / WEIGHTS, *texts]


def make_weights(paths: RunPaths) -> bytes:
    """Return the weights of a run's best validation as safetensors.

    raises: as `publish_run`
    """
    state = find_run_state(paths)
    if state != "finished":
        raise UserError(f"{paths.run_dir}: the run is {state}; only a finished one is published")
    best = load_record(paths.record).best
    if not paths.best.exists():
        raise UserError(f"{paths.best}: no such file; publish the run where it was trained")
    checkpoint = load_checkpoint(paths.best)
    if best is None or checkpoint["global_step"] != best.step:
        steps = f"step {checkpoint['global_step']}, but the record's best is {best and best.step}"
        raise UserError(f"{paths.best}: weights of {steps}")
    hparams = load_resolved(paths.hparams)
    for key in get_kind(hparams.kind).inputs:
        if "/" in (name := getattr(hparams.model, key)):
            raise UserError(
                f"{paths.hparams}: model.{key} is the run {name}; publish that first, and train "
                "with the published model"
            )
    content = pack_weights(select_weights(checkpoint["state_dict"], hparams))
    if len(content) > MAX_BYTES:
        raise UserError(
            f"{paths.best}: {len(content) / 1e6:.1f} MB of weights; "
            f"at most {MAX_BYTES / 1e6:.0f} MB are published"
        )
    return content


def _make_card(run_id: str, paths: RunPaths, name: str, hparams: Hparams) -> str:
    metrics = load_metrics(paths.test_metrics).iloc[0].dropna()
    return make_card(name, run_id, hparams, [key for key in metrics.index if key != "step"])
