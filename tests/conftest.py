import os

import hypothesis
import pytest

# A busy machine is no failure, and the suite is the same every time; to look for new examples:
# HYPOTHESIS_PROFILE=explore make test
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(autouse=True, scope="session")
def _use_one_thread():
    """Small tensors: threads would wait for each other more than they compute."""
    import torch

    torch.set_num_threads(1)
