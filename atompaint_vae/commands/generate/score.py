"""Score images, such as generated ones, against crops of real structures.

Usage:
    atompaint-vae score IMAGES... [options]
    atompaint-vae score (-h | --help)

IMAGES are .npz files, or maps. Each .npz file becomes a row of the table, and all maps together
become one. A .npz file holds `image`, [n, 6, x, x, x], the fraction of each voxel that atoms of
each channel fill, and `resolution_A`, the side of a voxel. Optional are `structure`, [n], the name
of each image's structure if they are, say, reconstructions of crops, and `radius_A` and `density`:
atoms are balls of 0.75 Å unless these say otherwise, as the hyperparameters of the same names do.

    atompaint-vae score images.npz
    atompaint-vae score latent.npz voxel.npz --references --vae finer-wide-10 --csv scores.csv
    atompaint-vae score images.npz --features neighbor-small

Of the structures, the test split has the reference's crops, and the train split those that may
have been copied. Brackets hold 95 % intervals, by structure.

Columns; atoms are found in the images, none is deleted, and those within 2 Å of the border don't
count:
    bonded, clashing, isolated
                       shares of the atoms whose nearest neighbour is 1.15 to 1.75 Å away, nearer,
                       or farther; of real crops, almost all are bonded
    nearest_A          median distance to the nearest neighbour [Å]
    coordination       mean number of neighbours within 1.75 Å
    bond_CC_A, bond_CN_A, bond_CO_A
                       Wasserstein distance of the bond lengths to those of the reference [Å]; nan
                       for fewer than 30 bonds
    bond_A             the same, the mean over all pairs of elements
    atoms_nm3          atoms per volume [atoms/nm³]
    kernel_distance    squared distance of the model's features to the reference's; unbiased, so
                       that it may be negative; compare it with that of other crops
    frechet_infinity   Fréchet distance of the features, extrapolated to infinitely many images;
                       like the kernel distance, it needs hundreds of images
    neighbor_accuracy  how often the model predicts correctly on which side of a view the next one
                       is, for views as full as in the reference; images of 33 Å and more
    training_distance  median distance to the nearest training crop in 24 orientations, relative to
                       that of the reference
    copied             share of images less than half as far from a training crop as the reference
                       is; 0 for new images

Options:
    --against DATA    Real structures: `starter`, or a set that `atompaint-vae data build` wrote.
                      [default: starter]
    --features MODEL  Model of neighbor location, a run or a published one; without it, the scores
                      of features are left out.
    --references      Add rows of real crops: other test crops, training crops, and test crops whose
                      atoms are displaced by 0.2, 0.5 and 1 Å (standard deviation along each axis).
    --vae MODEL       Add rows of a VAE, a run or a published one: reconstructed test crops, decoded
                      prior samples, and decoded latents of a normal distribution fitted to those of
                      training crops.
    --crops N         Number of crops of the reference, and of each row of --references and --vae;
                      ten times as many training crops may have been copied. [default: 100]
    --csv FILE        Write the unrounded table to a file.

Exit codes: 0 success; 2 images can't be read or don't fit, or there is no such model.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import docopt
import numpy as np

from ...text.files import write_atomic
from ...text.tables import format_table

if TYPE_CHECKING:
    from torch import Tensor

    from ...data.hparams import DataHparams

MIN_CROPS = 4
IMAGE_KEYS = ("resolution_A", "radius_A", "density")


class Images(NamedTuple):
    """Images of one row of the table.

    name:   of their file
    data:   how crops become such images
    groups: see `ImageSet`
    """

    name: str
    images: Tensor
    data: DataHparams
    groups: list[str]


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["score", *argv])
    num_crops = arguments["--crops"]
    if not (num_crops.isdecimal() and int(num_crops) >= MIN_CROPS):
        raise ValueError(
            f"--crops: expected a number of at least {MIN_CROPS}, got {num_crops!r}"
        )

    if not arguments["--against"]:
        raise ValueError("--against: expected structures, got ''")

    import pandas as pd

    sets = load_sets(arguments["IMAGES"])
    rows = score_all(
        sets,
        sets[0].data.model_copy(update={"source": arguments["--against"]}),
        num_crops=int(num_crops),
        features=arguments["--features"],
        vae=arguments["--vae"],
        with_crops=arguments["--references"],
    )
    table = pd.DataFrame(dict(rows)).T
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print("\n".join(format_scores(table.to_dict("index"), width)))
    # Last, so that a file that can't be written doesn't lose what was calculated.
    if arguments["--csv"]:
        write_atomic(Path(arguments["--csv"]), table.to_csv(index_label="images"))
    return 0


def score_all(
    sets: Sequence[Images],
    data: DataHparams,
    *,
    num_crops: int,
    features: str | None,
    vae: str | None,
    with_crops: bool,
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the name and the scores of each set of images, then those of the reference rows.

    data: the structures of the reference, and how their crops become images like those of the sets
    """
    from tqdm import tqdm

    from ...config.datasets import SEED_OF_SPLIT
    from ...data.crops.dataset import make_crops, open_split
    from ...models.references import (
        iter_batches,
        iter_crop_references,
        iter_vae_references,
        make_crop_set,
    )
    from ...models.scores import ImageSet, Scorer

    classifier = load_model("--features", features, "neighbor_location", data)
    autoencoder = load_model("--vae", vae, "vae", data)
    crops, training = (
        make_crops(open_split(data.source, split), data, num_samples=num, seed=SEED_OF_SPLIT[split])
        for split, num in (("test", 2 * num_crops), ("train", 10 * num_crops))
    )

    def iter_training(task: str) -> Iterator[Tensor]:
        indices = range(len(training))
        batches = tqdm(iter_batches(training, indices), desc=task, leave=False, disable=None)
        return (training.make_images(batch) for batch in batches)

    scorer = Scorer(
        make_crop_set(crops, range(num_crops)),
        iter_training("training crops"),
        resolution_A=data.resolution_A,
        radius_A=data.radius_A,
        classifier=classifier,
    )
    for name, images, _, groups in sets:
        yield name, scorer.score(ImageSet(images, groups))
    others = range(num_crops, 2 * num_crops)
    if with_crops:
        for name, images in iter_crop_references(crops, training, others):
            yield name, scorer.score(images)
    if autoencoder is not None:
        references = iter_vae_references(
            autoencoder,
            make_crop_set(crops, others),
            iter_training("encoding"),
            seed=SEED_OF_SPLIT["test"],
        )
        for name, images in references:
            yield name, scorer.score(images)


def load_sets(names: Sequence[str]) -> list[Images]:
    """Load the images of files, each .npz file by itself, all maps together.

    raises: ValueError with the file's name for images that are of another form, not finite, too
            few, or unlike those of the first file
    """
    maps = [x for x in names if not x.endswith(".npz")]
    sets = [load_npz(Path(x)) for x in names if x.endswith(".npz")]
    if maps:
        sets.append(load_maps(maps))
    first = sets[0]
    for name, _, data, _ in sets[1:]:
        for key in ("size_voxels", *IMAGE_KEYS):
            found, expected = getattr(data, key), getattr(first.data, key)
            if found != expected:
                raise ValueError(f"{name}: {key} is {found}, but {first.name} has {expected}")
    return sets


def make_images(name: str, images: Tensor, groups: list[str], **keys: float | str) -> Images:
    """Return images that can be scored.

    images: [n, c, x, x, x]
    keys:   those of `DataHparams` that say how the images are made
    raises: ValueError as `check_images`, or with the key for a value that `DataHparams` refuses
    """
    from pydantic import ValidationError

    from ...data.hparams import DataHparams

    check_images(name, images)
    try:
        data = DataHparams(size_voxels=images.shape[-1], **keys)
    except ValidationError as error:
        (key, *_), text = error.errors()[0]["loc"], error.errors()[0]["msg"]
        raise ValueError(f"{name}: {key}: {text[0].lower()}{text[1:]}") from None
    return Images(name, images, data, groups)


def load_maps(paths: Sequence[str]) -> Images:
    """Load the images of maps; those of one image differ in the channel alone that they end with.

    raises: ValueError if a file isn't a map, or images have different voxels
    """
    import torch

    from ...data.images import read_image_maps

    by_image = {}
    for path in paths:
        by_image.setdefault(path.rpartition("_")[0], []).append(path)
    found = {name: read_image_maps(of_image) for name, of_image in by_image.items()}
    first, *others = found.values()
    for name, other in zip([*found][1:], others, strict=True):
        same = other.image.shape == first.image.shape
        if not (same and np.isclose(other.resolution_A, first.resolution_A)):
            raise ValueError(f"{name}: other voxels than {next(iter(found))}")
    images = torch.from_numpy(np.stack([x.image for x in found.values()]))
    return make_images(
        f"{len(found)} maps", images, _number(images), resolution_A=first.resolution_A
    )


def load_npz(path: Path) -> Images:
    """Load the images of a .npz file.

    raises: ValueError as `load_images`, or for other channels
    """
    import torch

    from ...data.crops.voxelize import CHANNELS
    from ...data.images import load_images

    stored = load_images(path)
    if stored.channel_names != CHANNELS:
        found, expected = (", ".join(x) for x in (stored.channel_names, CHANNELS))
        raise ValueError(f"{path}: channels {found}; expected {expected}")
    images = torch.from_numpy(stored.images.astype(np.float32))
    groups = _number(images) if stored.structures is None else stored.structures
    if len(groups) != len(images):
        raise ValueError(f"{path}: {len(groups)} structures of {len(images)} images")
    keys = {key: getattr(stored, key) for key in IMAGE_KEYS}
    return make_images(str(path), images, groups, **keys)


def _number(images: Tensor) -> list[str]:
    """Return a group for each image."""
    return [f"image {i}" for i in range(len(images))]


def check_images(name: str, images: Tensor) -> None:
    """Check that images can be scored; raises: ValueError with the file's name if not."""
    from ...data.crops.voxelize import CHANNELS
    from ...models.scores import MIN_IMAGES
    from ...text.formats import format_shape

    shape = images.shape
    is_form = len(shape) == 5 and shape[1] == len(CHANNELS) and len({*shape[2:]}) == 1
    if not (is_form and shape[-1] % 2):
        raise ValueError(
            f"{name}: images of shape {format_shape(shape)}; expected n×{len(CHANNELS)}×x×x×x, "
            "x odd"
        )
    if len(images) < MIN_IMAGES:
        raise ValueError(f"{name}: {len(images)} images; expected at least {MIN_IMAGES}")
    is_finite = images.isfinite().flatten(1).all(dim=1)
    if not is_finite.all():
        index = int((~is_finite).nonzero()[0])
        raise ValueError(f"{name}: image {index} has values that aren't finite")


def load_model(option: str, name: str | None, kind: str, data: DataHparams):
    """Load the model that an option names, for images of any side; None without a name.

    raises: ValueError if there is no such model, or it isn't for such images
    """
    from ...config.hparams import load_resolved
    from ...training.weights import find_model, load_model_weights, make_trained

    if name is None:
        return None
    try:
        paths = find_model(name, Path.cwd())
        hparams = load_resolved(paths.hparams)
        if hparams.kind != kind:
            raise ValueError(f"{name} is of kind {hparams.kind}; expected {kind}")
        for key in IMAGE_KEYS:
            found, expected = getattr(data, key), getattr(hparams.data, key)
            if found != expected:
                raise ValueError(
                    f"{name} was trained on images of {key} {expected}, but here it is {found}"
                )
        return make_trained(paths, load_model_weights(paths), size_voxels=data.size_voxels)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def format_scores(rows: Mapping[str, Mapping[str, float]], width: int | None) -> list[str]:
    """Return the lines of a table, with intervals in brackets."""
    keys = [x for x in next(iter(rows.values())) if not x.endswith(("_low", "_high"))]
    cells = [["images", *(x.replace("num_images", "n") for x in keys)]]
    for name, scores in rows.items():
        cells.append([name, *(_format_score(scores, key) for key in keys)])
    return format_table(cells, "<" + ">" * len(keys), max_width=width)


def _format_score(scores: Mapping[str, float], key: str) -> str:
    text = f"{scores[key]:.3g}"
    if f"{key}_low" in scores:
        low, high = (scores[f"{key}_{end}"] for end in ("low", "high"))
        text += f" [{low:.3g}, {high:.3g}]"
    return text
