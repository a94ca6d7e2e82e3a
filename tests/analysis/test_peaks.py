import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from atompaint_vae.analysis.matching import match_atoms
from atompaint_vae.analysis.peaks import _Balls, _Canvas, find_atoms
from atompaint_vae.data.crops.dataset import CropDataset, collate_crops, load_split
from atompaint_vae.data.crops.voxelize import voxelize


def draw(coords_A, channels, size_voxels=11, **options):
    coords_A = torch.tensor(coords_A, dtype=torch.float32).reshape(-1, 3)
    channels = torch.tensor(channels, dtype=torch.long)
    index = torch.zeros_like(channels)
    options = {"num_images": 1, "num_channels": 3, "size_voxels": size_voxels, **options}
    return voxelize(coords_A, channels, index, **options)[0]


def check_found(found, coords_A, channels, tolerance_A=0.02):
    coords_A, channels = np.array(coords_A, dtype=float), np.array(channels)
    match = match_atoms(
        found.coords_A.numpy(), found.channels.numpy(), coords_A, channels,
        max_distance_A=tolerance_A,
    )  # fmt: skip
    assert len(found.channels) == len(match.found) == len(channels)


@pytest.mark.parametrize("place", [(0, 0, 0), (0.5, 0.5, 0.5), (-3.3, 1.24, 2.07), (5, -5, 0.3)])
def test_one_atom_anywhere(place):
    found = find_atoms(draw([place], [1]))
    check_found(found, [place], [1])
    assert found.weights.item() == pytest.approx(1, abs=0.02)


def test_channels_are_apart():
    coords_A, channels = [(0.2, 0.1, 0), (0.2, 0.1, 0), (1.4, 0.1, 0.3)], [0, 2, 1]
    check_found(find_atoms(draw(coords_A, channels)), coords_A, channels)


def test_bonded_atoms_of_one_channel():
    # A zigzag of six carbons, 1.53 Å and 112° as in an alkane, askew to the voxels.
    zigzag_A = np.array([(1.27 * i, 0.86 * (i % 2), 0) for i in range(6)]) - (3.2, 0.4, 0)
    axis = np.linalg.qr([[1, 0.3, 0.2], [0, 1, 0.5], [0.1, 0, 1]])[0]
    coords_A = zigzag_A @ axis
    assert np.linalg.norm(np.diff(coords_A, axis=0), axis=1) == pytest.approx(1.534, abs=1e-3)
    check_found(find_atoms(draw(coords_A, [0] * 6)), coords_A, [0] * 6)


def test_pale_atoms_are_found_if_asked_for():
    image = 0.4 * draw([(0.3, 0.2, -0.1)], [0])
    assert len(find_atoms(image).weights) == 0
    found = find_atoms(image, min_weight=0.3)
    assert found.weights.tolist() == pytest.approx([0.4], abs=0.02)


def test_there_is_nothing_in_an_empty_image_or_in_noise():
    assert len(find_atoms(torch.zeros(3, 9, 9, 9)).weights) == 0
    noise = 0.05 * torch.randn(3, 15, 15, 15, generator=torch.Generator().manual_seed(0))
    assert len(find_atoms(noise).weights) == 0


@pytest.mark.parametrize("resolution_A, radius_A", [(0.5, 0.75), (1.0, 1.0), (1.0, 0.6)])
def test_other_voxels_and_atoms(resolution_A, radius_A):
    options = {"resolution_A": resolution_A, "radius_A": radius_A}
    coords_A, channels = [(0.3, 0.2, 0.1), (1.9, -0.8, 0.4), (-1.2, -1.1, 0)], [0, 0, 1]
    image = draw(coords_A, channels, size_voxels=13, **options)
    check_found(find_atoms(image, **options), coords_A, channels, 0.05)


def test_the_atoms_of_real_crops():
    dataset = CropDataset(load_split("starter", "test"), num_samples=2, seed=0, size_voxels=21)
    num_true = num_near = num_found = 0
    for sample in dataset:
        crop = sample[1]
        found = find_atoms(dataset.make_images(collate_crops([sample]))[0])
        coords_A = found.coords_A.numpy()
        match = match_atoms(
            coords_A, found.channels.numpy(), crop.coords_A, crop.channels, max_distance_A=0.2
        )
        # Of what crosses the border only a part is seen.
        is_inside = (np.abs(crop.coords_A) < 10.5 - 0.75).all(axis=1)
        num_true += is_inside.sum()
        num_near += is_inside[match.true].sum()
        num_found += (np.abs(coords_A) < 10.5 - 0.75).all(axis=1).sum()
    assert num_true > 400
    assert num_near >= 0.99 * num_true
    assert num_found <= 1.01 * num_true


def test_gradients_may_be_off():
    with torch.no_grad():
        assert len(find_atoms(draw([(0, 0, 0)], [0])).weights) == 1


def test_sizes_must_be_positive():
    with pytest.raises(ValueError, match="radius_A must be positive, not 0 Å"):
        find_atoms(torch.zeros(3, 9, 9, 9), radius_A=0.0)


@pytest.mark.parametrize("radius_A", [0.6, 0.75, 1.7])
def test_balls_are_drawn_as_atoms_are(radius_A):
    position = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)).double() * 9 - 4.5
    index = torch.arange(40)

    def draw_exactly(position):
        options = {"num_channels": 1, "size_voxels": 7, "radius_A": radius_A}
        images = voxelize(position, 0 * index, index, num_images=40, **options)
        return images.flatten(1).numpy()

    canvas = _Canvas(7, radius_A)
    patches, voxels = canvas.draw_patches(position.numpy() + 3)
    drawn = np.array([
        [canvas.crop(canvas.add_up(row[None], where[None])).ravel() for row in ball]
        for ball, where in zip(patches, voxels, strict=True)
    ])  # fmt: skip
    exact = draw_exactly(position)
    assert np.abs(drawn[:, 0] - exact).max() < 0.003 * (radius_A / 0.75) ** 3
    for slopes, step in zip(drawn[:, 1:].swapaxes(0, 1), 0.02 * torch.eye(3), strict=True):
        differences = (draw_exactly(position + step) - draw_exactly(position - step)) / 0.04
        assert np.abs(slopes - differences).max() < 0.1 * (radius_A / 0.75) ** 2
    shown = canvas.calc_shown(_Balls(position.numpy() + 3, np.full(40, 0.5)))
    assert shown == pytest.approx(exact.sum(axis=1) / (4 / 3 * np.pi * radius_A**3) / 2, abs=0.003)


def test_nothing_fits_better_nearby():
    # A weight of 1.2 can't be had: the best positions differ from the true ones, by up to 0.04 Å.
    image = 1.2 * draw([(0.1, 0.2, -0.3)], [0]) + 0.6 * draw([(1.2, 0.9, 0.2)], [0])
    found = find_atoms(image)
    weights = found.weights[:, None].clamp(max=0.999)
    start = torch.cat([found.coords_A, weights], dim=1).double().flatten().numpy()

    def calc_errors(balls):
        coords_A, weights = torch.from_numpy(balls).view(2, 4).split([3, 1], dim=1)
        index = torch.arange(2)
        images = voxelize(coords_A, 0 * index, index, num_images=2, num_channels=1, size_voxels=11)
        return ((weights.view(2, 1, 1, 1, 1) * images).sum(dim=(0, 1)) - image[0]).flatten().numpy()

    bounds = [-5, -5, -5, 0] * 2, [5, 5, 5, 1] * 2
    best = least_squares(calc_errors, start, bounds=bounds, diff_step=1e-3)
    assert start == pytest.approx(best.x, abs=0.03)
