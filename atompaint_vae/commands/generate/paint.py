"""Paint the atoms around a residue anew, in their surroundings.

Usage:
    atompaint-vae paint STRUCTURE --model NAME --around CHAIN/RESIDUE --out DIR
                        [--radius A] [--num N] [--seed N] [--resamplings N] [--steps N]
                        [--device NAME]
    atompaint-vae paint (-h | --help)

All atoms in a sphere around the residue's centre are removed. A diffusion model then proposes atoms
that fit what is left. STRUCTURE is an mmCIF, PDB or BinaryCIF file, compressed or not; its first
model is taken, or all models of an assembly (.pdb1). NAME is a published model of kind diffusion,
or a finished run of this notebook, as experiment/run.

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
from pathlib import Path
from typing import TYPE_CHECKING

import docopt

from ...text.errors import UserError
from ...text.tables import format_table

if TYPE_CHECKING:
    import gemmi
    import pandas as pd
    from torch import Tensor

    from ...data.structures.regions import Atoms
    from ...models.diffusion.hparams import SamplerHparams
    from ...models.diffusion.painting import Painter
    from .folder import ImageFolder

CHANCE, RECONSTRUCTED = "random atoms", "reconstructed"


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

    structure, atoms = parse_structure(path), read_structure(path)
    try:
        center_A = calc_center(find_residue(structure, around))
    except RegionError as error:
        raise RegionError(f"{path}: {error}") from None

    from ...data.crops.dataset import make_filters
    from ...data.structures.regions import remove_sphere
    from ...models.diffusion.painting import Painter
    from ...training.train import choose_device
    from .folder import ImageFolder, load_denoiser

    device = choose_device(arguments["--device"])
    model, hparams, weights = load_denoiser(arguments["--model"])
    sampler = hparams.model.sampler
    if num_steps:
        sampler = sampler.model_copy(update={"num_steps": num_steps})
    atoms = make_filters(hparams.data).select_atoms(atoms)
    hidden, known = split_atoms(atoms, center_A, radius_A)
    if not len(hidden.channels):
        raise RegionError(f"{path}: no heavy atoms within {radius_A:g} Å of {around}")
    painter = Painter(model.to(device), hparams.data, known, radius_A)
    print(describe_region(painter, hidden))

    folder = ImageFolder(
        Path(arguments["--out"]),
        "proposal",
        num_digits=2,
        resolution_A=hparams.data.resolution_A,
        center_A=center_A,
    )
    settings = {
        "structure": path.name,
        "structure SHA-256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "model": arguments["--model"],
        "weights SHA-256": weights,
        "around": around,
        "radius": f"{radius_A:g} Å",
        "seed": str(seed),
        "resamplings": str(num_resamplings),
        "steps": str(sampler.num_steps),
    }
    options = {"seed": seed, "num_resamplings": num_resamplings}
    with folder.claim(settings):
        paint_missing(folder, num, painter, remove_sphere(structure, center_A, radius_A),
                      sampler, options)  # fmt: skip
        recovery, page = write_results(
            folder, folder.count(), painter, hidden, f"{around} of {path.name}"
        )
    for line in describe_recovery(recovery):
        print(line)
    print(page)
    return 0


def paint_missing(
    folder: "ImageFolder",
    num: int,
    painter: "Painter",
    rest: "gemmi.Structure",
    sampler: "SamplerHparams",
    options: dict[str, int],
) -> None:
    """Paint the proposals that aren't in the folder yet.

    rest: the structure without the atoms of the sphere
    """
    from tqdm import tqdm

    from ...data.structures.export import write_structure_with_atoms

    missing = folder.list_missing(num)
    total = len(missing) * sampler.num_steps
    with tqdm(total=total, unit="step", dynamic_ncols=True, disable=None) as bar:
        for k in missing:
            bar.set_description(folder.get_name(k))
            for step in painter.sample_steps(sampler, indices=[k], **options):
                data = step.x
                bar.update()
            (image,) = painter.decode(data).cpu()

            def write_atoms(path: Path, image: "Tensor" = image):
                found = painter.find_atoms(image)
                coords_A = (found.coords_A + folder.center_A).round(3)
                write_structure_with_atoms(path, rest, coords_A, found.channels)

            folder.add(k, image.numpy(), write_atoms)


def write_results(
    folder: "ImageFolder", num: int, painter: "Painter", hidden: "Atoms", title: str
) -> tuple["pd.DataFrame", Path]:
    """Write the table and the page of all proposals; return the table and the page's path."""
    import pandas as pd
    import torch

    from ...analysis.recovery import count_recovered, count_recovered_by_chance, score_recovery
    from ...notebook.reconstruction.gallery import make_gallery

    images, counts = folder.read_images(num), {}
    for k, image in enumerate(images):
        found = painter.find_atoms(torch.from_numpy(image))
        counts[folder.get_name(k)] = count_recovered(found, hidden)
    reconstructed = painter.find_atoms(painter.reconstruct(hidden))
    counts[RECONSTRUCTED] = count_recovered(reconstructed, hidden)
    counts[CHANCE] = count_recovered_by_chance(
        hidden, painter.known, radius_A=painter.radius_A, side_A=painter.side_A
    )
    counts = pd.DataFrame.from_dict(counts, orient="index").rename_axis("proposal")
    recovery = counts.join(score_recovery(counts)).round(4).reset_index()
    folder.write("recovery.csv", recovery.to_csv(index=False))
    original = painter.known_image + painter.make_image(hidden)
    page = make_gallery(
        images,
        original[None].cpu().numpy(),
        recovery,
        title=title,
        names=("Proposal", "Structure"),
        resolution_A=painter.data.resolution_A,
    )
    return recovery, folder.write("index.html", page)


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
