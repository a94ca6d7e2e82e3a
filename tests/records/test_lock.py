import subprocess
import sys

import pytest

from atompaint_vae.records.lock import lock_run
from atompaint_vae.records.record import RunPaths
from atompaint_vae.text.errors import UserError
from atompaint_vae.training.module import FREE_TURN, QUARTER_TURN

HOLD = """
import sys, time
from atompaint_vae.records.lock import lock_run
from atompaint_vae.records.record import RunPaths
with lock_run(RunPaths(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_refuses_until_the_first_is_gone(tmp_path):
    paths = RunPaths(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        message = "another process is training this run"
        with pytest.raises(UserError, match=message), lock_run(paths):
            pass
        first.kill()
    with lock_run(paths):
        pass


def test_turns_are_rotations_by_the_angles_that_they_claim():
    import torch

    for turn, angle in ((QUARTER_TURN, torch.pi / 2), (FREE_TURN, 0.5**0.5)):
        assert torch.allclose(turn @ turn.T, torch.eye(3, dtype=torch.float64))
        assert torch.linalg.det(turn).item() == pytest.approx(1)
        cosine = (turn.trace().item() - 1) / 2
        assert cosine == pytest.approx(torch.cos(torch.tensor(angle)).item(), abs=1e-6)
