"""Views cut from images. Truth: images that hold their own coordinates, hand-made densities."""

import numpy as np
import pytest
import torch

from atompaint_vae.models.neighbor_location.classifier import NeighborClassifier
from atompaint_vae.models.neighbor_location.images import (
    calc_gap_voxels,
    calc_image_features,
    calc_weights,
    can_hold_views,
    cut_image_views,
    predict_faces,
)
from atompaint_vae.models.neighbor_location.views import FACES, NORMALS


def make_coordinates(num, size):
    """Images whose three channels are x, y and z from the centre, in voxels."""
    axis = torch.arange(size) - (size - 1) / 2
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    return grid.expand(num, 3, size, size, size)


class Oracle(NeighborClassifier):
    """Tells the face from the coordinates in the views."""

    def __init__(self):
        super().__init__(["1x0e"], "1x0e", num_channels=3, size_voxels=5)

    def forward(self, views):
        first, second = views.mean(dim=(3, 4, 5)).unbind(1)
        return (second - first) @ NORMALS.T.to(views)


def test_views_lie_at_each_face_about_the_centre():
    views, face = cut_image_views(make_coordinates(2, 15), 5, 3)
    assert views.shape == (12, 2, 3, 5, 5, 5)
    assert face.tolist() == [0, 1, 2, 3, 4, 5] * 2
    centres = views.mean(dim=(3, 4, 5))
    # Half the distance of two views of 5 voxels that are 3 apart.
    torch.testing.assert_close(centres[:, 1], 4 * NORMALS[face].float())
    torch.testing.assert_close(centres[:, 0], -4 * NORMALS[face].float())


def test_gaps_are_odd_and_those_of_the_model():
    assert [calc_gap_voxels(3.0, x) for x in (0.5, 0.75, 1.0, 1.5, 3.0)] == [7, 5, 3, 3, 1]
    model = Oracle()
    assert not can_hold_views(model, 11, 1.0)
    assert can_hold_views(model, 13, 1.0)
    model.gap_A = 1.0
    assert can_hold_views(model, 11, 1.0)
    # The centres of views of 5 voxels are 6 apart.
    seen = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    predict_faces(model, make_coordinates(1, 15), resolution_A=1.0, radius_A=0.75)
    first, second = seen[0].mean(dim=(3, 4, 5)).unbind(1)
    torch.testing.assert_close((second - first).norm(dim=1), torch.full((6,), 6.0))


def test_predictions_are_compared_with_the_faces():
    images = make_coordinates(20, 15).clone()
    images[7] *= -1  # every face is the opposite one
    found = predict_faces(Oracle(), images, resolution_A=1.0, radius_A=0.75)
    assert found.is_right.shape == (20, len(FACES))
    assert found.is_right.all(axis=1).tolist() == [i != 7 for i in range(20)]
    assert not found.is_right[7].any()


def test_the_density_is_that_of_the_emptier_view():
    images = torch.zeros(1, 3, 15, 15, 15)
    images[:, 0, :7] = 0.06
    images[:, 1, 8:] = 0.03
    # An atom of 0.75 Å fills 1.767 Å³.
    found = predict_faces(Oracle(), images, resolution_A=1.0, radius_A=0.75).densities_atoms_nm3
    assert found[0, :2] == pytest.approx([30 / 1.767] * 2, rel=1e-3)
    assert found[0, 2:] == pytest.approx([0.045 * 14 / 15 * 1000 / 1.767] * 4, rel=0.2)


def test_weights_make_densities_as_frequent_as_the_references():
    densities = np.array([[41.0, 42, 43, 52, 53, 99]])
    reference = np.array([[40.0, 44, 51, 52, 53, 54]])
    weights = calc_weights(densities, reference)
    # A third of the reference is in 40 to 45, two thirds in 50 to 55.
    assert weights[0] == pytest.approx([1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3, 0])
    assert weights.sum() == pytest.approx(1)
    assert not calc_weights(densities, reference + 100).any()
    assert calc_weights(np.array([[41.0, 42, 43, 99, 99, 99]]), reference).sum() == 1 / 3


def test_features_of_batches_are_those_of_the_model():
    torch.manual_seed(0)
    model = NeighborClassifier(["4x0e+2x1e"], "2x0e", num_channels=3, size_voxels=5).eval()
    images = torch.rand(20, 3, 11, 11, 11)
    with torch.no_grad():
        expected = torch.cat([model.calc_features(x[None]) for x in images])
    found = calc_image_features(model, images)
    assert (found.dtype, found.shape) == (np.float64, (20, 12))
    assert found == pytest.approx(expected.numpy(), abs=1e-5)
