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
                       crops; see atompaint-vae score --help
    settings.nt        what they were drawn with

    atompaint-vae sample latent-8 --num 16 --out samples
    pymol samples/sample-000.cif samples/maps/sample-000_C.mrc

A sample depends only on the model, the sampler's settings, the seed and its own number. A second
call with a larger --num draws the others; so does one after an interruption.

Options:
    --out DIR        Folder for the files; it is made if there is none.
    --num N          Number of samples. [default: 16]
    --seed N         Seed of the noise. [default: 0]
    --steps N        Noise levels; each takes two evaluations of the denoiser.
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
    from ...data.hparams import DataHparams

SAMPLER_OPTIONS = {
    "--steps": "num_steps", "--sigma-min": "sigma_min", "--sigma-max": "sigma_max",
    "--churn": "S_churn",
}  # fmt: skip

SHOWN_SCORES = [
    "bonded", "clashing", "isolated", "nearest_A", "coordination", "bond_A", "atoms_nm3", "copied",
]  # fmt: skip

NUM_SHOWN_CROPS = 16
NUM_SCORED_CROPS = 32


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["sample", *argv])
    from ...training.options import parse_number

    num, batch_size = (parse_number(arguments, option) for option in ("--num", "--batch"))
    seed = parse_number(arguments, "--seed", least=0)

    import hashlib

    from ...config.datasets import resolve_source
    from ...models.scores import MIN_IMAGES
    from ...training.train import choose_device
    from ...training.weights import find_model, load_trained, pack_weights
    from .score import load_model

    device = choose_device(arguments["--device"])
    name, folder = arguments["MODEL"], Path(arguments["--out"])
    model, hparams = load_trained(name, Path.cwd())
    if hparams.kind != "diffusion":
        raise ValueError(f"{name}: a model of kind {hparams.kind}; expected diffusion")
    sampler = override_sampler(hparams.model.sampler, arguments)
    expt_dir = find_model(name, Path.cwd()).expt_dir
    source = resolve_source(hparams, expt_dir)
    data = hparams.data.model_copy(update={"source": source})
    load_model("--features", arguments["--features"], "neighbor_location", data)  # fail early
    settings = {
        "model": name,
        "weights": hashlib.sha256(pack_weights(model.state_dict())).hexdigest(),
        "seed": str(seed),
        "sampler": {key: str(value) for key, value in sampler.model_dump().items()},
    }
    store = SampleFolder(folder, data)
    store.begin(settings)
    missing = [index for index in range(num) if not store.has(index)]
    if len(missing) < num:
        print(f"{folder}: {num - len(missing)} of {num} samples are there")
    for index, image in draw(model.to(device), sampler, seed, missing, batch_size):
        store.add(index, image)
    crops = load_crops(hparams, expt_dir, min(num, NUM_SHOWN_CROPS))
    images = store.save_images(num)
    scores = None
    if crops is not None and num >= MIN_IMAGES:
        scores = store.score(images, arguments["--features"])
    page = store.save_page(images, crops, scores, title=f"{num} samples of {name}")
    print(f"{page}: {num} samples")
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


class SampleFolder:
    """A folder of samples, to which a second call adds those that are missing.

    data: of the run; its source is where the structures are
    """

    def __init__(self, folder: Path, data: DataHparams):
        self.folder = folder
        self.maps = folder / "maps"
        self.data = data

    def begin(self, settings: dict):
        """Make the folder; raises: ValueError if it has samples of other settings.

        settings: texts, and mappings of texts
        """
        import nestedtext as nt

        from ...text.files import write_atomic
        from ...text.located import load_located

        path = self.folder / "settings.nt"
        if path.exists():
            found = load_located(path).plain
            other = [key for key in settings if found.get(key) != settings[key]]
            if other:
                raise ValueError(
                    f"{path}: samples of another {', '.join(other)}; choose another --out"
                )
            return
        self.maps.mkdir(parents=True, exist_ok=True)
        write_atomic(path, nt.dumps(settings) + "\n")

    def has(self, index: int) -> bool:
        return self._find_atoms_path(index).exists() and all(
            path.exists() for path in self._find_map_paths(index)
        )

    def add(self, index: int, image):
        """Write a sample: its maps, and then its atoms, so that those tell that it is complete."""
        from ...analysis.peaks import find_atoms
        from ...data.images import write_image_maps
        from ...data.structures.export import write_atoms_as_cif

        if not image.isfinite().all():
            raise ValueError(f"sample {index}: not finite; the sampler or the weights diverged")
        grid = {"resolution_A": self.data.resolution_A, "radius_A": self.data.radius_A}
        atoms = find_atoms(image.float(), **grid)
        write_image_maps(image.numpy(), self.maps, self._name(index), self.data.resolution_A)
        write_atoms_as_cif(
            self._find_atoms_path(index), atoms.coords_A.numpy(), atoms.channels.numpy()
        )

    def save_images(self, num: int) -> Float[np.ndarray, "n c x y z"]:
        """Write all images together, and return them."""
        from ...data.images import read_image_maps, save_images

        images = np.stack([
            read_image_maps(self._find_map_paths(index)).image for index in range(num)
        ])  # fmt: skip
        save_images(self.folder / "images.npz", images, self.data.resolution_A)
        return images

    def score(self, images: Float[np.ndarray, "n c x y z"], features: str | None):
        """Write the scores of the images, and return them as a table."""
        import pandas as pd
        import torch

        from ...text.files import write_atomic
        from .score import Images, score_all

        names = [self._name(index) for index in range(len(images))]
        rows = score_all(
            [Images("samples", torch.from_numpy(images), self.data.resolution_A, names)],
            self.data,
            num_crops=NUM_SCORED_CROPS,
            features=features,
            vae=None,
            with_crops=True,
        )
        table = pd.DataFrame(dict(rows)).T.rename_axis("images").reset_index()
        write_atomic(self.folder / "scores.csv", table.to_csv(index=False))
        return table

    def save_page(self, images, crops, scores, *, title: str) -> Path:
        """Write the page of all samples, and return its path."""
        from ...notebook.reconstruction.gallery import make_gallery
        from ...text.files import write_atomic

        path = self.folder / "index.html"
        if scores is not None:
            scores = scores[["images", *SHOWN_SCORES]]
        page = make_gallery(
            images, crops, scores, title=title, resolution_A=self.data.resolution_A
        )
        write_atomic(path, page)
        return path

    def _name(self, index: int) -> str:
        return f"sample-{index:03}"

    def _find_atoms_path(self, index: int) -> Path:
        return self.folder / f"{self._name(index)}.cif"

    def _find_map_paths(self, index: int) -> list[Path]:
        from ...data.crops.voxelize import CHANNELS

        return [self.maps / f"{self._name(index)}_{channel}.mrc" for channel in CHANNELS]
