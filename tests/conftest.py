import hypothesis
import pytest

# A busy machine is no failure.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(autouse=True, scope="session")
def _use_one_thread():
    """Small tensors: threads would wait for each other more than they compute."""
    import torch

    torch.set_num_threads(1)
