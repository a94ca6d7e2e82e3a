"""Test a model on your own structures.

Usage:
    atompaint-vae evaluate NAME INPUT... [--crops N]
    atompaint-vae evaluate (-h | --help)

NAME is a published model, such as finer-wide-10, or a finished run of this notebook, such as
20241217_train_vae/2-layer, or just 2-layer in that experiment's folder. INPUT is a folder, a
structure file, a pattern or a text file that lists files, as for `atompaint-vae data build`; or a
set that it wrote, a database of macromol_gym_unsupervised or `starter`, of which the test
structures are taken. Crops are made as for the test of the model's run.

The first column is measured now, in float32; the second was recorded by the test of the model's
run. Structures whose names occur in its training set are listed.

Options:
    --crops N  Number of crops. [default: 64]

Exit codes: 0 success; 2 there is no such model, or a file can't be read.
"""

import sys
from pathlib import Path

import docopt

from ..models.kind import get_kind
from ..records.find import UnknownRunError, locate_runs
from ..records.metrics import load_metrics
from ..text.tables import format_table


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["evaluate", *argv])
    num_crops = arguments["--crops"]
    if not (num_crops.isdecimal() and int(num_crops)):
        raise ValueError(f"--crops: expected a number of at least 1, got {num_crops!r}")

    import pandas as pd

    from ..config.datasets import SEED_OF_SPLIT, resolve_source
    from ..data.crops.dataset import make_crops
    from ..training.evaluate import calc_test_metrics
    from ..training.weights import find_model, load_trained

    name = find_run_id(arguments["NAME"])
    paths = find_model(name, Path.cwd())
    model, hparams = load_trained(name, Path.cwd())
    atoms = load_inputs(arguments["INPUT"])
    crops = make_crops(
        atoms, hparams.data, num_samples=int(num_crops), seed=SEED_OF_SPLIT["test"]
    )
    is_table = isinstance(atoms, pd.DataFrame)
    structures = sorted(atoms["structure"].unique() if is_table else {*atoms.structures})
    size = f"{len(structures)} structures, {len(atoms):,} atoms" if is_table else repr(atoms)
    print(f"{size}, {num_crops} crops")
    warn_of_training_structures(structures, resolve_source(hparams, paths.expt_dir))
    recorded = load_metrics(paths.test_metrics).iloc[0]
    metrics = calc_test_metrics(model, hparams, crops)
    for line in describe_metrics(metrics, recorded, get_kind(hparams.kind).card_metrics):
        print(line)
    return 0


def find_run_id(name: str) -> str:
    """Return `experiment/run` if a name or a path means one run of this notebook, else the name."""
    try:
        found = [*locate_runs([name])]
    except UnknownRunError:  # a published model, or unknown; what reads it reports that
        return name
    return found[0] if len(found) == 1 else name


def load_inputs(inputs: list[str]):
    """Return the atoms of structure files, or the test split of a set or a database.

    raises: ValueError if they can't be read, or there is something besides a set
    """
    from ..data import STARTER
    from ..data.sets.inputs import find_structure_files
    from ..data.sets.macromol_db import is_database
    from ..data.sets.sources import open_split
    from ..data.structures.table import concatenate_atoms, read_structure

    for name in inputs:
        if name == STARTER or Path(name).suffix == ".parquet" or is_database(Path(name)):
            if len(inputs) > 1:
                raise ValueError(f"{name}: a set can't be evaluated together with other inputs")
            return open_split(name, "test")
    return concatenate_atoms([read_structure(path) for path in find_structure_files(inputs)])


def warn_of_training_structures(structures, source: str | Path) -> None:
    """List the structures whose names occur in the model's training set, if that is here."""
    from ..data.sets.sources import find_atoms_path, find_structures_path, load_structures

    atoms_path = find_atoms_path(source)
    if not find_structures_path(atoms_path).exists():
        return
    table = load_structures(atoms_path)
    known = {x.lower() for x in table.loc[table["split"] == "train", "pdb_id"]}
    trained = [x for x in structures if x.lower() in known]
    if trained:
        print(f"the model was trained on {', '.join(trained)}", file=sys.stderr)


def describe_metrics(metrics: dict[str, float], recorded, shown: tuple[str, ...]) -> list[str]:
    """Return a line for each metric, below the names of the columns."""
    rows = [("", "measured", "recorded")]
    rows += [
        (key, f"{value:.3g}", f"{recorded[key]:.3g}" if key in recorded else "")
        for key, value in metrics.items()
        if key.startswith(shown or "")
    ]
    return format_table(rows, "<>>")
