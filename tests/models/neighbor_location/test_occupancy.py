"""Where the truth is known: views that are filled beside a face, or anywhere."""

import pytest
import torch

from atompaint_vae.models.neighbor_location.occupancy import calc_occupancy_accuracies
from atompaint_vae.models.neighbor_location.views import ViewPair


def make_pairs(num_pairs: int, seed: int, faces=6, view: int = 0) -> list[ViewPair]:
    """One view is fuller beside the pair's face, among noise; the other is noise alone."""
    generator = torch.Generator().manual_seed(seed)
    face = torch.randint(faces, (num_pairs,), generator=generator)
    images = torch.rand(num_pairs, 2, 2, 6, 6, 6, generator=generator)
    for image, number in zip(images, face.tolist(), strict=True):
        axis, is_low = divmod(number, 2)
        image[view].narrow(1 + axis, 0 if is_low else 4, 2).add_(0.5)
    return [ViewPair(images[i : i + 50], face[i : i + 50]) for i in range(0, num_pairs, 50)]


@pytest.mark.parametrize(("view", "name", "other"), [
    (0, "first", "second"), (1, "second", "first"),
])  # fmt: skip
def test_what_one_view_tells(view, name, other):
    train, held_out = make_pairs(300, 0, view=view), make_pairs(600, 1, view=view)
    accuracies = calc_occupancy_accuracies(train, held_out)
    assert accuracies[name] > 0.95
    assert accuracies["both"] > 0.9
    assert accuracies[other] == pytest.approx(1 / 6, abs=0.06)  # 4 standard errors


def test_orientations_are_all_alike():
    """Trained on two of the faces, it knows the others."""
    accuracies = calc_occupancy_accuracies(make_pairs(300, 0, faces=2), make_pairs(600, 1))
    assert accuracies["first"] > 0.95
