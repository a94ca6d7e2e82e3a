"""Both heads and the features under rotations, in float64; the classes that are learned."""

import pytest
import torch

from atompaint_vae.models.encoder import Encoder
from atompaint_vae.models.neighbor_location.classifier import NeighborClassifier
from atompaint_vae.models.neighbor_location.views import FACES, NORMALS
from atompaint_vae.nn.rotations import make_octahedral_group, rotate_voxels
from atompaint_vae.nn.unconstrained import UnconstrainedConv

LAYERS = ["4x0e+2x1e+1x2e", "1xfourier1+2x0e"]
ROTATIONS = make_octahedral_group()


def make_model(head="equivariant", layers=LAYERS, **options) -> NeighborClassifier:
    torch.manual_seed(0)
    options = {"num_channels": 2, "size_voxels": 15, "mlp_width": 8, "image_std": 0.5} | options
    return NeighborClassifier(layers, "2x0e+1x1e+1x2e", head=head, **options).double().eval()


def make_images(*shape) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def find_turned_faces(rotation) -> list[int]:
    """The face that each face is turned to."""
    turned = (NORMALS @ rotation.T).round().tolist()
    return [NORMALS.tolist().index(normal) for normal in turned]


def test_the_equivariant_head_turns_its_prediction_with_the_views():
    model, views = make_model(), make_images(3, 2, 2, 15, 15, 15)
    with torch.no_grad():
        logits = model(views)
        assert logits.shape == (3, len(FACES))
        assert logits.std(dim=1).min() > 1e-3
        for rotation in ROTATIONS:
            turned = rotate_voxels(views.flatten(0, 1), rotation).unflatten(0, (3, 2))
            expected = torch.empty_like(logits)
            expected[:, find_turned_faces(rotation)] = logits
            # Rounding errors of float64.
            torch.testing.assert_close(model(turned), expected, rtol=0, atol=1e-12)


def test_the_head_moves_its_constants_only_with_the_model():
    head = make_model().float().head
    before = dict(head.named_buffers(recurse=False))
    assert {name: x.dtype for name, x in before.items() if x.is_floating_point()} == {
        "_representations": torch.float32, "_weights": torch.float32,
    }  # fmt: skip
    assert not [name for name in head.state_dict() if not name.startswith("score.")]
    head.double()
    # The representations are orthogonal up to rounding errors of float64.
    squares = head._representations @ head._representations.mT
    identity = torch.eye(10, dtype=torch.float64).expand_as(squares)
    torch.testing.assert_close(squares, identity, rtol=0, atol=1e-14)


def test_an_ordinary_head_does_not():
    model, views = make_model("mlp"), make_images(3, 2, 2, 15, 15, 15)
    with torch.no_grad():
        logits = model(views)
        turned = rotate_voxels(views.flatten(0, 1), ROTATIONS[5]).unflatten(0, (3, 2))
        expected = torch.empty_like(logits)
        expected[:, find_turned_faces(ROTATIONS[5])] = logits
        assert (model(turned) - expected).abs().max() > 1e-2


@pytest.mark.parametrize("head", ["mlp", "equivariant"])
def test_heads_learn_which_face_is_marked(head):
    """The first view is full beside one of its faces; a few steps tell all six apart."""
    model = make_model(head, layers=["4x0e+2x1e"], size_voxels=7, num_channels=1, mlp_width=16)
    views = torch.zeros(6, 2, 1, 7, 7, 7, dtype=torch.float64)
    for face in range(6):
        axis, is_low = divmod(face, 2)
        views[face, 0].select(1 + axis, 0 if is_low else 6).fill_(1)
    face = torch.arange(6)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=0.01)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(model(views), face)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(model(views).argmax(dim=1), face)


def test_the_order_of_the_views_matters():
    model, views = make_model(), make_images(2, 2, 2, 15, 15, 15)
    assert (model(views) - model(views.flip(1))).abs().max() > 1e-3


def test_images_are_divided_by_their_deviation():
    model, views = make_model(), make_images(2, 2, 2, 15, 15, 15)
    doubled = make_model(image_std=1.0)
    torch.testing.assert_close(doubled(2 * views), model(views))


@pytest.mark.parametrize(("size_voxels", "downsampling"), [
    (15, "strided"), (21, "strided"), (35, "strided"), (21, "pooled"),
])  # fmt: skip
def test_features_of_any_side_do_not_change_under_rotations(size_voxels, downsampling):
    model = make_model(downsampling=downsampling)
    images = make_images(2, 2, *[size_voxels] * 3)
    features = model.calc_features(images)
    # Scalars and the norms of 1 + 3 + 2 copies, twice.
    assert features.shape == (2, 2 * 6)
    assert features.std(dim=1).min() > 1e-2
    for rotation in ROTATIONS:
        turned = model.calc_features(rotate_voxels(images, rotation))
        torch.testing.assert_close(turned, features, rtol=0, atol=1e-12)


def test_features_are_averages_and_deviations_over_the_voxels():
    """Written out for one copy of l = 1, the last three channels of the first field."""
    model, images = make_model(), make_images(2, 2, 15, 15, 15)
    fields = model.encoder.blocks(images / 0.5)
    assert fields.shape == (2, 12, 3, 3, 3)
    # 1xfourier1 is 1x0e+3x1e; then two scalars.
    norms = torch.linalg.vector_norm(fields[:, 7:10], dim=1).flatten(1)
    features = model.calc_features(images)
    torch.testing.assert_close(features[:, 3], norms.mean(dim=1))
    torch.testing.assert_close(features[:, 6 + 3], norms.std(dim=1, correction=0))
    torch.testing.assert_close(features[:, 5], fields[:, 11].flatten(1).mean(dim=1))


def test_features_follow_the_weights_and_leave_everything_as_it_was():
    model = make_model()
    before, state = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    images = make_images(1, 2, 21, 21, 21)
    features = model.calc_features(images)
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    features.sum().backward()
    assert model.encoder.blocks[0].norm.bias.grad.abs().min() > 0
    with torch.no_grad():
        model.encoder.blocks[0].norm.bias.add_(1)
    assert not torch.allclose(model.calc_features(images), features)


def test_another_side_takes_no_other_encoder(monkeypatch):
    model, images = make_model(), make_images(1, 2, 21, 21, 21)
    monkeypatch.setattr(Encoder, "__init__", None)
    assert model.calc_features(images).shape == (1, 12)


@pytest.mark.parametrize("size_voxels", [15, 21])
def test_gradients_of_features_of_empty_images_are_finite(size_voxels):
    model = make_model()
    images = make_images(2, 2, *[size_voxels] * 3)
    images[1] = 0
    images.requires_grad_()
    model.calc_features(images).sum().backward()
    assert images.grad.isfinite().all()
    assert images.grad[0].abs().max() > 0


def test_features_without_symmetry_are_of_every_channel():
    model = make_model("mlp", conv=UnconstrainedConv)
    assert model.calc_features(make_images(1, 2, 21, 21, 21)).shape == (1, 2 * 12)


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="can't halve an image of 20 voxels a side"):
        make_model().calc_features(make_images(1, 2, 20, 20, 20))


def test_views_of_another_shape_are_refused():
    model = make_model()
    message = "pairs of views: expected shape n×2×2×15×15×15, got 1×2×2×9×9×9"
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(1, 2, 2, 9, 9, 9))


def test_shapes_without_alignment():
    model = make_model("mlp", alignment="none")
    assert model.features_shape == (10, 4, 4, 4)
    assert model(make_images(1, 2, 2, 15, 15, 15)).shape == (1, 6)


@pytest.mark.parametrize(("size_voxels", "is_exact"), [(15, False), (17, True)])
def test_without_alignment_only_odd_sides_keep_the_symmetry(size_voxels, is_exact):
    """15 → 8 → 4 voxels, or 17 → 9 → 5."""
    model = make_model(alignment="none", size_voxels=size_voxels)
    views, rotation = make_images(1, 2, 2, *[size_voxels] * 3), ROTATIONS[5]
    with torch.no_grad():
        turned = model(rotate_voxels(views.flatten(0, 1), rotation)[None])
        expected = torch.empty_like(turned)
        expected[:, find_turned_faces(rotation)] = model(views)
    assert torch.allclose(turned, expected, rtol=0, atol=1e-12) == is_exact
