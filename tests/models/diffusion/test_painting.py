"""Painted atoms fit known ones, which stay as they are; a denoiser that knows all finds all."""

import functools

import numpy as np
import pytest
import torch
from small_structure import write_structure

from atompaint_vae.analysis.recovery import count_recovered
from atompaint_vae.data.crops.voxelize import voxelize
from atompaint_vae.data.hparams import DataHparams
from atompaint_vae.data.structures.formats import parse_structure
from atompaint_vae.data.structures.regions import (
    Atoms,
    RegionError,
    calc_center,
    find_residue,
    split_atoms,
)
from atompaint_vae.data.structures.table import read_structure
from atompaint_vae.models.diffusion.denoiser import Denoiser
from atompaint_vae.models.diffusion.hparams import SamplerHparams
from atompaint_vae.models.diffusion.painting import TOLERANCE, Painter
from atompaint_vae.models.noise import Noise
from atompaint_vae.training.weights import load_pretrained

SAMPLER = SamplerHparams(num_steps=3)


@functools.cache
def make_region(radius_A, folder):
    """The hidden and the known atoms of the small structure."""
    path = write_structure(folder / "small.cif")
    center_A = calc_center(find_residue(parse_structure(path), "A/100B"))
    return split_atoms(read_structure(path), center_A, radius_A)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("painting")


def make_denoiser(size_voxels, autoencoder=None, model_class=Denoiser):
    torch.manual_seed(0)
    model = model_class(
        ["2x0e+1x1e"], num_channels=6, size_voxels=size_voxels, autoencoder=autoencoder
    )
    for parameter in model.network.head.parameters():  # zero at first
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval().requires_grad_(False)


class Knowing(Denoiser):
    """A denoiser that estimates one image, whatever it sees."""

    def forward(self, x, sigma, previous=None):
        return self.scaling(self.truth[None]).expand_as(x)


def paint(painter, seed=0, indices=(0,), **options):
    *_, last = painter.sample_steps(SAMPLER, seed=seed, indices=indices, **options)
    return painter.decode(last.x)


@pytest.mark.parametrize(
    "data",
    [
        DataHparams(size_voxels=13),
        DataHparams(size_voxels=19, resolution_A=0.7, radius_A=1.0),
        DataHparams(size_voxels=17, density="gaussian"),
    ],
)
def test_painted_voxels_are_those_that_atoms_can_touch(data):
    known = Atoms(np.array([[6.0, 0, 0]]), np.array([0]))
    painter = Painter(make_denoiser(data.size_voxels), data, known, 3.0)
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(40_000, 3, generator=generator, dtype=torch.float64)
    surface_A = 2.9999 * directions / directions.norm(dim=1, keepdim=True)
    inside_A = surface_A * torch.rand(40_000, 1, generator=generator)
    atoms = Atoms(torch.cat([surface_A, inside_A]).numpy(), np.zeros(80_000, dtype=int))
    image = painter.make_image(atoms)[0]
    outside = image[~painter.is_painted]
    if data.density == "gaussian":  # the image has a little of an atom beyond its reach
        assert outside.sum() < 1e-4 * image.sum()
        return
    assert outside.max() < 1e-6  # the voxelizer interpolates
    # Voxels that only atoms on a small part of the surface touch may be missed.
    is_missed = painter.is_painted & (image == 0)
    assert is_missed.sum() <= 0.01 * painter.is_painted.sum()


def test_atoms_beside_the_sphere_are_known():
    # The first bond's length from the surface of the sphere, at a voxel's centre; far away.
    known = Atoms(np.array([[4.0, 0, 0], [0, -5, 0]]), np.array([0, 1]))
    painter = Painter(make_denoiser(13), DataHparams(size_voxels=13), known, 3.0)
    assert not painter.is_painted[6 + 4, 6, 6]
    assert painter.is_painted[6 + 3, 6, 6]
    assert painter.is_painted[6, 6 + 4, 6]  # as far from the centre, and empty
    _, found = (painter.find_atoms(x) for x in (painter.known_image, painter.reconstruct(known)))
    assert not len(found.channels)


def test_data_of_images_are_painted_like_their_voxels():
    known = Atoms(np.array([[5.0, 0, 0]]), np.array([0]))
    painter = Painter(make_denoiser(13), DataHparams(size_voxels=13), known, 3.0)
    assert painter.is_painted_data is painter.is_painted


@pytest.fixture(scope="module")
def latent_painter(folder):
    vae = load_pretrained("finer-small-8").requires_grad_(False)
    _, known = make_region(4.0, folder)
    return Painter(make_denoiser(21, vae), DataHparams(size_voxels=21), known, 4.0)


def test_other_latents_hardly_change_with_the_hidden_atoms(latent_painter, folder):
    hidden, _ = make_region(4.0, folder)
    is_painted = latent_painter.is_painted_data
    assert 0.1 < is_painted.double().mean() < 0.35
    change = latent_painter.calc_change(hidden)
    assert change[is_painted].max() > 1
    # The hidden atoms weren't among those that the latents were found with.
    others = change[~is_painted]
    assert (others > TOLERANCE).double().mean() < 0.005
    assert others.max() < 2 * TOLERANCE


def test_change_is_that_of_the_scaled_latents(latent_painter, folder):
    hidden, known = make_region(4.0, folder)
    vae = latent_painter.model.autoencoder
    images = []
    for atoms in (known, Atoms(*map(np.concatenate, zip(known, hidden, strict=True)))):
        images.append(
            voxelize(
                torch.from_numpy(atoms.coords_A), torch.from_numpy(atoms.channels),
                torch.zeros(len(atoms.channels), dtype=int), num_images=1, num_channels=6,
                size_voxels=21,
            ).float()
        )  # fmt: skip
    torch.testing.assert_close(latent_painter.known_image, images[0][0])
    means = [vae.encode(x).mean for x in images]
    expected = np.sqrt(np.mean(np.square((means[1] - means[0])[0].numpy()), axis=0))
    change = latent_painter.calc_change(hidden).numpy()
    np.testing.assert_allclose(change, expected, atol=1e-4)


def test_known_voxels_and_latents_are_kept(latent_painter):
    *_, last = latent_painter.sample_steps(SAMPLER, seed=3, indices=[0, 1], num_resamplings=2)
    painter = latent_painter
    known = painter.known_image.expand(2, -1, -1, -1, -1)
    data = painter.model.encode(known, Noise(3, torch.tensor([0, 1])))
    is_known = ~painter.is_painted_data
    assert torch.equal(last.x[..., is_known], data[..., is_known])
    assert not torch.isclose(last.x, data)[..., painter.is_painted_data].all()
    images = painter.decode(last.x)
    assert torch.equal(images[..., ~painter.is_painted], known[..., ~painter.is_painted])
    decoded = painter.model.decode(last.x)
    assert torch.equal(images[..., painter.is_painted], decoded[..., painter.is_painted])


def test_a_denoiser_that_knows_the_image_recovers_all_atoms(folder):
    hidden, known = make_region(4.0, folder)
    model = make_denoiser(21, model_class=Knowing)
    painter = Painter(model, DataHparams(size_voxels=21), known, 4.0)
    model.truth = painter.known_image + painter.make_image(hidden)
    model.scaling.measure(model.truth[None])
    (image,) = paint(painter)
    found = painter.find_atoms(image)
    counts = count_recovered(found, hidden)
    num = len(hidden.channels)
    assert num > 10
    assert counts == {"hidden": num, "found": num, "recovered": num, "right_element": num}
    # In the frame of the file: not merely within 1 Å.
    distances_A = np.linalg.norm(hidden.coords_A[:, None] - found.coords_A, axis=2).min(axis=1)
    assert distances_A.max() < 0.1


def test_a_denoiser_that_knows_the_latents_reconstructs(latent_painter, folder, monkeypatch):
    """Only the autoencoder's own errors are left."""
    painter = latent_painter
    hidden, _ = make_region(4.0, folder)
    truth = painter.known_image + painter.make_image(hidden)
    mean = painter.model.autoencoder.encode(truth[None]).mean
    monkeypatch.setattr(painter.model, "forward", lambda x, *_: painter.model.scaling(mean))
    best = painter.reconstruct(hidden)
    (painted,) = paint(painter)
    for image in (painted, best):
        counts = count_recovered(painter.find_atoms(image), hidden)
        assert counts["recovered"] >= 0.7 * counts["hidden"]
    # The same but for the noise of the known latents' posteriors.
    numbers = torch.stack([x[:, painter.is_painted].ravel() for x in (painted, best)])
    assert torch.corrcoef(numbers)[0, 1] > 0.9


def test_known_atoms_at_the_edge_are_not_found_again():
    # An atom just outside the sphere, most of which lies in painted voxels.
    known = Atoms(np.array([[3.1, 0, 0], [6, 0, 0]]), np.array([0, 1]))
    painter = Painter(make_denoiser(15), DataHparams(size_voxels=15), known, 3.0)
    assert len(painter.find_atoms(painter.known_image).channels) == 0
    new = Atoms(np.array([[1.6, 0, 0], [0, 0, 3.2]]), np.array([0, 2]))
    found = painter.find_atoms(painter.known_image + painter.make_image(new))
    # The second lies outside as well.
    np.testing.assert_allclose(found.coords_A, new.coords_A[:1], atol=0.05)


def test_atoms_that_clash_are_kept():
    known = Atoms(np.array([[4.0, 0, 0]]), np.array([0]))
    painter = Painter(make_denoiser(13), DataHparams(size_voxels=13), known, 3.0)
    clash = Atoms(np.array([[0, 0, 0], [0.5, 0, 0]]), np.array([0, 1]))
    image = painter.known_image + painter.make_image(clash)
    assert len(painter.find_atoms(image).channels) == 2


def test_proposals_depend_on_seed_and_index_only(folder):
    _, known = make_region(3.0, folder)
    painter = Painter(make_denoiser(13), DataHparams(size_voxels=13), known, 3.0)
    both = paint(painter, indices=[0, 1])
    # Sums of a batch are rounded differently.
    torch.testing.assert_close(paint(painter, indices=[1])[0], both[1], rtol=1e-4, atol=1e-4)
    others = both[1], paint(painter, seed=1)[0], paint(painter, num_resamplings=1)[0]
    assert not any(torch.allclose(x, both[0], rtol=1e-3, atol=1e-3) for x in others)


@pytest.mark.parametrize(
    ("radius_A", "place_A", "message"),
    [
        (6.0, 6.0, "a sphere of 6 Å doesn't fit into the model's crops of 13 Å; "
                   "the largest radius is 5.75 Å"),
        (3.0, 40.0, "no known atoms within 6.5 Å of the region"),
    ],
)  # fmt: skip
def test_regions_that_do_not_fit(radius_A, place_A, message):
    known = Atoms(np.array([[place_A, 0, 0]]), np.array([0]))
    with pytest.raises(RegionError, match=f"^{message}$"):
        Painter(make_denoiser(13), DataHparams(size_voxels=13), known, radius_A)


def test_a_sphere_as_small_as_an_atom_is_painted(latent_painter, folder):
    _, known = make_region(1.0, folder)
    painter = Painter(latent_painter.model, DataHparams(size_voxels=21), known, 1.0)
    assert painter.is_painted_data.any()


def test_a_sphere_that_leaves_no_latent_known(folder):
    vae = load_pretrained("finer-small-8").requires_grad_(False)
    _, known = make_region(9.7, folder)
    model = make_denoiser(21, vae)
    model.scaling.std *= 1e-4
    message = "a sphere of 9.7 Å leaves none of the model's latents known; choose a smaller radius"
    with pytest.raises(RegionError, match=f"^{message}$"):
        Painter(model, DataHparams(size_voxels=21), known, 9.7)
