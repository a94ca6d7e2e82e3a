"""The benchmark of gates: its step without a compiler is in Python, and its parts are disjoint."""

import torch

from atompaint_vae.nn import compiled
from benchmarks import gates


def test_a_step_without_code_is_the_same_in_python(monkeypatch):
    called = []
    load = compiled.load_library
    monkeypatch.setattr(compiled, "load_library", lambda: called.append(1) or load())
    torch.manual_seed(0)
    step = gates.make_vae_step(11, torch.float32)
    gates.without_code(step)()
    assert not called
    step()
    assert called


def test_parts_of_a_step_are_disjoint():
    torch.manual_seed(0)
    step = gates.make_vae_step(11, torch.float32)
    step()
    rows = gates.describe_parts(step, "step", 2)
    assert [row["name"] for row in rows] == [f"step: {x}" for x in (*gates.PARTS, "the rest")]
    # Parts that contain each other would leave a negative rest.
    assert all(row["ours"] > 0 for row in rows), rows
