"""Draw samples of a trained denoiser: images, atoms, and a page to look at.

Usage:
    atompaint-vae sample MODEL --out DIR [options]
    atompaint-vae sample (-h | --help)

MODEL is a published model, or a finished run such as 20241217_diffuse/plain, of kind diffusion.
DIR then holds

    index.html         all samples, beside crops of real structures; it opens in any browser,
                       without a network
    sample-000.cif     the atoms that are found in an image, for any molecular viewer
    maps/sample-000_C.mrc
                       the image's carbon channel, in the same frame; the same for the others
    images.npz         all images, for atompaint-vae score and for Python
    scores.csv         geometry of the atoms, and copies of training crops, beside the same of real
                       crops, for four samples or more; see atompaint-vae score --help
    settings.nt        what they were drawn with

    atompaint-vae sample denoiser-small --num 16 --out samples
    pymol samples/sample-000.cif samples/maps/sample-000_C.mrc

A sample depends only on the model, the sampler's settings, the seed and its own number. A second
call with a larger --num draws the others; so does one after an interruption.

Options:
    --out DIR        Folder for the files; it is made if there is none.
    --num N          Number of samples. [default: 16]
    --seed N         Seed of the noise. [default: 0]
    --steps N        Noise levels; each but the last takes two evaluations of the denoiser.
    --sigma-min S    Lowest noise level, relative to the standard deviation of the data.
    --sigma-max S    Highest noise level.
    --churn S        Noise that is added anew in all steps together, EDM's S_churn.
                     Options of the sampler that aren't given are those of the run.
    --features MODEL  Model of neighbor location, a run or a published one, for scores of features.
    --batch N        Samples that are drawn together. [default: 4]
    --device NAME    auto, cpu or cuda; auto is the GPU if there is one. [default: auto]

Exit codes: 0 success; 2 there is no such model, or DIR has samples of other settings; 130
interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docopt
import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from ...data.hparams import DataHparams
    from .folder import ImageFolder

SAMPLER_OPTIONS = {
    "--steps": "num_steps", "--sigma-min": "sigma_min", "--sigma-max": "sigma_max",
    "--churn": "S_churn",
}  # fmt: skip

SHOWN_SCORES = [  # on the page; scores.csv has all
    "bonded", "clashing", "isolated", "nearest_A", "coordination", "bond_A", "atoms_nm3", "copied",
]  # fmt: skip

NUM_SHOWN_CROPS = 16
"""Crops beside the samples on the page."""

NUM_SCORED_CROPS = 32
"""Crops of each reference row: a fifth of a minute at 21 Å."""


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["sample", *argv])
    from ...training.options import parse_number

    num, batch_size = (parse_number(arguments, option) for option in ("--num", "--batch"))
    seed = parse_number(arguments, "--seed", least=0)

    from ...config.datasets import resolve_source
    from ...data.images import save_images
    from ...models.scores import MIN_IMAGES
    from ...notebook.reconstruction.gallery import make_gallery
    from ...training.train import choose_device
    from ...training.weights import find_model
    from .folder import ImageFolder, load_denoiser
    from .score import load_model

    device = choose_device(arguments["--device"])
    name = arguments["MODEL"]
    model, hparams, weights = load_denoiser(name)
    sampler = override_sampler(hparams.model.sampler, arguments)
    expt_dir = find_model(name, Path.cwd()).expt_dir
    source = resolve_source(hparams, expt_dir)
    data = hparams.data.model_copy(update={"source": source})
    load_model("--features", arguments["--features"], "neighbor_location", data)  # fail early
    if arguments["--features"] and num < MIN_IMAGES:
        raise ValueError(f"--features: scores need at least {MIN_IMAGES} samples, not {num}")
    settings = {"model": name, "weights SHA-256": weights, "seed": str(seed)}
    settings |= {key: str(value) for key, value in sampler.model_dump().items()}
    folder = ImageFolder(
        Path(arguments["--out"]), "sample", num_digits=3, resolution_A=data.resolution_A
    )
    with folder.claim(settings):
        missing = folder.list_missing(num)
        if len(missing) < num:
            print(f"{folder.folder}: {num - len(missing)} of {num} samples are there")
        for index, image in draw(model.to(device), sampler, seed, missing, batch_size):
            add_sample(folder, index, image, data)
        num = folder.count()
        images = folder.read_images(num)
        save_images(
            folder.folder / "images.npz", images, data.resolution_A,
            radius_A=data.radius_A, density=data.density,
        )  # fmt: skip
        crops = load_crops(hparams, expt_dir, min(num, NUM_SHOWN_CROPS))
        scores = None
        if crops is not None and num >= MIN_IMAGES:
            table = score(images, data, arguments["--features"])
            folder.write("scores.csv", table.to_csv(index=False))
            scores = table[["images", *SHOWN_SCORES]]
        page = make_gallery(
            images, crops, scores, title=f"{num} samples of {name}", resolution_A=data.resolution_A
        )
        print(f"{folder.write('index.html', page)}: {num} samples")
    return 0


def override_sampler(sampler: Any, arguments: dict[str, str | None]) -> Any:
    """Return the run's sampler with the options that are given.

    raises: ValueError with the option for a value that it can't have
    """
    from pydantic import ValidationError

    for option, key in SAMPLER_OPTIONS.items():
        if (text := arguments[option]) is None:
            continue
        try:
            sampler = type(sampler).model_validate(sampler.model_dump() | {key: text})
        except ValidationError:
            raise ValueError(f"{option}: {text!r} is not a value of {key}") from None
    if sampler.sigma_min >= sampler.sigma_max:
        raise ValueError(
            f"--sigma-min: {sampler.sigma_min:g} isn't below --sigma-max {sampler.sigma_max:g}"
        )
    return sampler


def draw(model, sampler, seed: int, indices: list[int], batch_size: int) -> Iterator[tuple]:
    """Yield the index and the image of each sample, with a progress bar."""
    import torch
    from tqdm import tqdm

    from ...models.diffusion.samples import draw_samples

    num_batches = -(-len(indices) // batch_size)
    total = num_batches * sampler.num_steps
    with tqdm(total=total, desc="samples", unit="step", disable=None) as bar, torch.no_grad():
        for start in range(0, len(indices), batch_size):
            batch = indices[start : start + batch_size]
            for step in draw_samples(model, sampler, seed=seed, indices=batch):
                bar.update()
                last = step.x
            yield from zip(batch, model.decode(last).cpu(), strict=True)


def load_crops(hparams, expt_dir: Path, num: int):
    """Return images of test crops [n, c, x, y, z]; None, and say so, if there are none here."""
    from ...config.datasets import make_dataset
    from ...data.crops.dataset import collate_crops

    try:
        dataset = make_dataset(hparams, expt_dir, "test")
    except (ValueError, OSError) as error:
        print(f"no test crops to compare with: {error}", file=sys.stderr)
        return None
    return dataset.make_images(collate_crops([dataset[i] for i in range(num)])).numpy()


def add_sample(
    folder: ImageFolder, index: int, image: Float[Tensor, "c x y z"], data: DataHparams
):
    """Write the maps of a sample, and the atoms that are found in it."""
    from ...analysis.peaks import find_atoms
    from ...data.structures.export import write_atoms_as_cif

    def write_atoms(path: Path):
        atoms = find_atoms(image.float(), resolution_A=data.resolution_A, radius_A=data.radius_A)
        write_atoms_as_cif(path, atoms.coords_A.numpy(), atoms.channels.numpy())

    folder.add(index, image.numpy(), write_atoms)


def score(
    images: Float[np.ndarray, "n c x y z"], data: DataHparams, features: str | None
) -> pd.DataFrame:
    """Return the scores of images and of reference rows.

    data:     how the images of crops are made; its source is where the structures are
    features: name of a model of neighbor location
    """
    import pandas as pd
    import torch

    from .score import Images, score_all

    groups = [str(index) for index in range(len(images))]
    rows = score_all(
        [Images("samples", torch.from_numpy(images), data, groups)],
        data,
        num_crops=NUM_SCORED_CROPS,
        features=features,
        vae=None,
        with_crops=True,
    )
    return pd.DataFrame(dict(rows)).T.rename_axis("images").reset_index()
