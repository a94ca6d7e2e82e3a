"""Paint the atoms around a residue anew, in their surroundings.

Usage:
    atompaint-vae paint STRUCTURE --model NAME --around CHAIN/RESIDUE --out DIR
                        [--radius A] [--num N] [--seed N] [--resamplings N] [--steps N]
                        [--device NAME]
    atompaint-vae paint (-h | --help)

All atoms in a sphere around the residue's centre are removed. A diffusion model then proposes atoms
that fit what is left. STRUCTURE is an mmCIF, PDB or BinaryCIF file, gzipped or not; its first model
is taken, without symmetry copies. NAME is a published model of kind diffusion, or a finished run of
this notebook, as experiment/run.

    atompaint-vae paint 1bhl.pdb --around A/123 --model 20261129_first_denoisers/plain --out new

DIR then holds:
    proposal-00.cif  The structure with the sphere's atoms removed, and the painted atoms as the
                     residue UNL of a new chain. Known atoms stay as they are, in the same place.
    maps/            The image of each proposal, a CCP4 map for each element, in the same frame.
    recovery.csv     How many of the removed atoms were found again. For comparison: how many a
                     perfect denoiser would find, and how many random atoms of the surroundings'
                     density and composition.
    index.html       The images beside the original one; opens in a browser, without a network.
    settings.nt      What the proposals were made with.

Proposal k depends only on the settings and on k. Press Ctrl-C at any time; the same command goes
on from the proposals that are written. A larger --num adds some. With other settings, take
another DIR.

Options:
    --model NAME       The model.
    --around CHAIN/RESIDUE  The author's chain and number, such as A/123; with the insertion code
                       if there is one, such as A/52B. The centre is the mean of the heavy atoms.
    --out DIR          The folder for the proposals.
    --radius A         Radius of the sphere [Å]. A larger sphere leaves less to fit to. [default: 5]
    --num N            Number of proposals. [default: 10]
    --seed N           Seed of their noise. [default: 0]
    --resamplings N    How often each step is done, so that painted and known data become
                       consistent. 1 is quick, but painted atoms then fit badly. [default: 10]
    --steps N          Noise levels of a proposal; by default those of the model.
    --device NAME      auto, cpu or cuda; auto is the GPU if there is one. [default: auto]

Exit codes: 0 success; 2 the file can't be read, the residue isn't there, the sphere has no atoms or
doesn't fit the model's crops, or DIR holds proposals of other settings; 130 after Ctrl-C.
"""

import hashlib
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docopt
import nestedtext as nt

from ...text.errors import UserError
from ...text.files import write_atomic
from ...text.tables import format_table

if TYPE_CHECKING:
    import gemmi
    import numpy as np
    import pandas as pd

    from ...data.structures.regions import Atoms
    from ...models.diffusion.denoiser import Denoiser
    from ...models.diffusion.hparams import SamplerHparams
    from ...models.diffusion.painting import Painter

SETTINGS, RECOVERY, PAGE, MAPS = "settings.nt", "recovery.csv", "index.html", "maps"
CHANCE, RECONSTRUCTED = "random atoms", "reconstructed"

SHOWN = -1.0, 2.0
"""Filled fractions on the page, which a bad model's images may exceed by far."""


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["paint", *argv])
    from ...training.options import parse_number

    radius_A = parse_length(arguments, "--radius")
    num, num_resamplings = (parse_number(arguments, x) for x in ("--num", "--resamplings"))
    seed = parse_number(arguments, "--seed", least=0)
    num_steps = parse_number(arguments, "--steps")
    path, around = Path(arguments["STRUCTURE"]), arguments["--around"]

    # Torch is slow to import, so mistakes in these arguments are reported before.
    from ...data.structures.formats import parse_structure
    from ...data.structures.regions import RegionError, calc_center, find_residue, split_atoms
    from ...data.structures.table import read_structure

    structure, atoms = parse_structure(path).model, read_structure(path)
    try:
        center_A = calc_center(find_residue(structure, around))
    except RegionError as error:
        raise RegionError(f"{path}: {error}") from None

    from ...data.crops.dataset import make_filters
    from ...models.diffusion.painting import Painter
    from ...training.train import choose_device

    device = choose_device(arguments["--device"])
    model, hparams = load_denoiser(arguments["--model"])
    weights = hash_weights(model)
    sampler = hparams.model.sampler
    if num_steps:
        sampler = sampler.model_copy(update={"num_steps": num_steps})
    atoms = make_filters(hparams.data).select_atoms(atoms)
    hidden, known = split_atoms(atoms, center_A, radius_A)
    if not len(hidden.channels):
        raise RegionError(f"{path}: no heavy atoms within {radius_A:g} Å of {around}")
    painter = Painter(model.to(device), hparams.data, known, radius_A)
    print(describe_region(painter, hidden))

    out = Path(arguments["--out"])
    claim_folder(out, {
        "structure": path.name,
        "structure SHA-256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "model": arguments["--model"],
        "weights SHA-256": weights,
        "around": around,
        "radius": f"{radius_A:g} Å",
        "seed": str(seed),
        "resamplings": str(num_resamplings),
        "steps": str(sampler.num_steps),
    })  # fmt: skip
    options = {"seed": seed, "num_resamplings": num_resamplings}
    stems = [f"proposal-{k:02d}" for k in range(num)]
    paint_missing(out, stems, painter, structure, center_A, sampler, options)
    recovery = write_results(out, stems, painter, hidden, f"{around} of {path.name}")
    for line in describe_recovery(recovery):
        print(line)
    print(out / PAGE)
    return 0


def load_denoiser(name: str) -> tuple["Denoiser", Any]:
    """Return a diffusion model and its hyperparameters.

    raises: ValueError if there is no such model, or it is of another kind
    """
    from ...training.weights import load_trained

    model, hparams = load_trained(name, Path.cwd())
    if hparams.kind != "diffusion":
        raise UserError(f"{name}: a model of kind {hparams.kind}; only diffusion can paint")
    return model, hparams


def hash_weights(model: "Denoiser") -> str:
    from ...training.weights import pack_weights

    return hashlib.sha256(pack_weights(model.state_dict())).hexdigest()


def claim_folder(out: Path, settings: dict[str, str]) -> None:
    """Make a folder for proposals of some settings.

    raises: UserError if it holds proposals of others
    """
    path = out / SETTINGS
    if path.exists():
        try:
            found = nt.load(path, top="dict")
        except (nt.NestedTextError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not readable: {' '.join(str(error).split())}") from None
        for key, value in settings.items():
            if found.get(key) != value:
                raise UserError(
                    f"{path}: the proposals there have {key} {found.get(key)}, not {value}; "
                    "choose another --out"
                )
    (out / MAPS).mkdir(parents=True, exist_ok=True)
    write_atomic(path, nt.dumps(settings) + "\n", sync=False)


def paint_missing(
    out: Path,
    stems: list[str],
    painter: "Painter",
    structure: "gemmi.Structure",
    center_A: "np.ndarray",
    sampler: "SamplerHparams",
    options: dict[str, int],
) -> None:
    """Paint the proposals that aren't in the folder yet."""
    from tqdm import tqdm

    from ...data.images import write_image_maps
    from ...data.structures.export import write_structure_with_atoms
    from ...data.structures.regions import remove_sphere

    rest = remove_sphere(structure, center_A, painter.radius_A)
    missing = [k for k, stem in enumerate(stems) if not (out / f"{stem}.cif").exists()]
    with tqdm(
        total=len(missing) * sampler.num_steps,
        unit="step",
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        for k in missing:
            bar.set_description(stems[k])
            for step in painter.sample_steps(sampler, indices=[k], **options):
                data = step.x
                bar.update()
            (image,) = painter.decode(data).cpu()
            found = painter.find_atoms(image)
            resolution_A = painter.data.resolution_A
            write_image_maps(
                image.numpy(), out / MAPS, stems[k], resolution_A, center_A=center_A
            )
            # Written last: a proposal that has this file is complete.
            write_structure_with_atoms(
                out / f"{stems[k]}.cif", rest, (found.coords_A + center_A).round(3), found.channels
            )


def write_results(
    out: Path, stems: list[str], painter: "Painter", hidden: "Atoms", title: str
) -> "pd.DataFrame":
    """Write the table and the page of all proposals; return the table."""
    import numpy as np
    import pandas as pd
    import torch

    from ...analysis.recovery import count_recovered, count_recovered_by_chance, score_recovery
    from ...data.images import read_image_maps
    from ...notebook.reconstruction.gallery import make_gallery

    images, counts = [], {}
    for stem in stems:
        images.append(read_image_maps((out / MAPS).glob(f"{stem}_*.mrc")).image)
        found = painter.find_atoms(torch.from_numpy(images[-1]))
        counts[stem] = count_recovered(found, hidden)
    reconstructed = painter.find_atoms(painter.reconstruct(hidden))
    counts[RECONSTRUCTED] = count_recovered(reconstructed, hidden)
    counts[CHANCE] = count_recovered_by_chance(
        hidden, painter.known, radius_A=painter.radius_A, side_A=painter.side_A
    )
    counts = pd.DataFrame.from_dict(counts, orient="index").rename_axis("proposal")
    recovery = counts.join(score_recovery(counts)).round(4).reset_index()
    write_atomic(out / RECOVERY, recovery.to_csv(index=False), sync=False)
    original = painter.known_image + painter.make_image(hidden)
    page = make_gallery(
        np.stack(images).clip(*SHOWN),
        original[None].cpu().numpy(),
        recovery,
        title=title,
        names=("Proposal", "Structure"),
        resolution_A=painter.data.resolution_A,
    )
    write_atomic(out / PAGE, page, sync=False)
    return recovery


def describe_region(painter: "Painter", hidden: "Atoms") -> str:
    """Say in one line what is hidden, and what is painted."""
    kind = "voxels" if painter.model.autoencoder is None else "latents"
    share = painter.is_painted_data.double().mean()
    return (
        f"{len(hidden.channels)} heavy atoms hidden, {len(painter.known.channels)} around them; "
        f"{share:.0%} of the {kind} are painted"
    )


def describe_recovery(recovery: "pd.DataFrame") -> list[str]:
    """Return a line for each proposal, below the names of the columns."""
    shown = recovery[["proposal", "found", "recovered", "right_element", "recall", "precision"]]
    rows = [[row.proposal, *(f"{x:.3g}" for x in row[1:])] for row in shown.itertuples(index=False)]
    return format_table([shown.columns, *rows], "<>>>>>")


def parse_length(arguments: dict, name: str) -> float:
    try:
        length_A = float(arguments[name])
    except ValueError:
        length_A = math.nan
    if not 0 < length_A < math.inf:
        raise UserError(f"{name}: expected a length in Å, got {arguments[name]!r}")
    return length_A
