import pytest
import torch

from atompaint_vae.models.vae.objective import FREE_TURN, QUARTER_TURN


def test_turns_are_rotations_by_the_angles_that_they_claim():
    for turn, angle in ((QUARTER_TURN, torch.pi / 2), (FREE_TURN, 0.5**0.5)):
        assert torch.allclose(turn @ turn.T, torch.eye(3, dtype=torch.float64))
        assert torch.linalg.det(turn).item() == pytest.approx(1)
        cosine = (turn.trace().item() - 1) / 2
        assert cosine == pytest.approx(torch.cos(torch.tensor(angle)).item(), abs=1e-6)
