import re
from itertools import count

import pytest
import torch

from atompaint_vae.cli import run_command
from atompaint_vae.config.hparams import load_hparams
from atompaint_vae.config.schema import Hparams
from atompaint_vae.models.kind import get_kind
from atompaint_vae.models.vae.loss import calc_loss
from atompaint_vae.models.vae.objective import VAEObjective
from atompaint_vae.nn import conv
from atompaint_vae.nn.nonlinearities import voxelwise
from atompaint_vae.training import plan
from atompaint_vae.training.cost import calc_cost
from atompaint_vae.training.plan import FirstSteps, build_model
from atompaint_vae.training.plan_text import (
    describe_confounded,
    describe_table,
    group_notes,
    list_notes,
)

BATCH_SIZE = 3
HPARAMS = Hparams.model_validate({
    "data": {"size_voxels": 11},
    "model": {"layers": ["1xfourier1", "4x0e+2x1e"], "latent": "2x0e+1x1e"},
    "train": {"epochs": 1, "steps_per_epoch": 1},
})


@pytest.fixture(scope="module")
def model():
    return build_model(HPARAMS)


@pytest.fixture(scope="module")
def cost(model):
    return calc_cost(HPARAMS, model, batch_size=BATCH_SIZE)


def test_multiply_adds_counted_by_hand(cost):
    layers = {layer.name: layer for layer in cost.layers}
    # 11³ -> 5³: a kernel of 10·6·27 numbers at each place; its gradient as much again, that of the
    # image none.  It is made of 4 shells for l = 0, and the 3 outer ones for each of 3 copies of
    # l = 1, and so is its gradient.
    convolution = 2 * BATCH_SIZE * 5**3 * 10 * 6 * 27
    kernel = 2 * (6 * 1 * 4 * 1 * 27 + 6 * 3 * 3 * 3 * 27)
    # To the 48 points and back, 10 numbers each; once more there and, for the gradient, twice.
    nonlinearity = 5 * BATCH_SIZE * 5**3 * 10 * 48
    assert layers["encoder.blocks.0"].multiply_adds == convolution + kernel + nonlinearity
    # 3³ -> 3³, 12 gated to 10 channels: forward, and gradients of both.
    head = layers["encoder.head"]
    assert (head.shape_in, head.shape_out) == ((10, 3, 3, 3), (8, 3, 3, 3))
    convolution = 3 * BATCH_SIZE * 3**3 * 10 * 8 * 27
    assert 0 < head.multiply_adds - convolution < convolution / BATCH_SIZE / 27 * 4
    # Transposed: counted over the smaller image.
    last = layers["decoder.head"]
    assert (last.shape_in, last.shape_out) == ((10, 5, 5, 5), (6, 11, 11, 11))
    convolution = 3 * BATCH_SIZE * 5**3 * 10 * 6 * 27
    assert last.multiply_adds == convolution + kernel
    assert cost.multiply_adds == sum(layer.multiply_adds for layer in cost.layers)


def test_saved_memory_is_that_of_a_real_step(model, cost):
    known = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    images = torch.rand(BATCH_SIZE, *model.image_shape)
    known.add(images.untyped_storage().data_ptr())
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        posterior = model.encode(images)
        reconstruction = model.decode(posterior.sample(torch.randn_like(posterior.mean)))
        std = model.image_std
        calc_loss(images / std, reconstruction / std, posterior, reduction="sum", beta=1.0)
    assert cost.saved_bytes == sum(storage.nbytes() for storage in saved.values())


def test_layers_in_the_order_of_the_data(model, cost):
    names = [layer.name for layer in cost.layers]
    assert names == [
        "encoder.blocks.0", "encoder.blocks.1", "encoder.head",
        "decoder.blocks.0", "decoder.blocks.1", "decoder.head",
    ]  # fmt: skip
    fields = [(layer.fields_in, layer.fields_out) for layer in cost.layers]
    assert fields == [
        ("6x0e", "1xfourier1"), ("1xfourier1", "4x0e+2x1e"), ("4x0e+2x1e", "2x0e+1x1e+3x0e"),
        ("2x0e+1x1e", "4x0e+2x1e"), ("4x0e+2x1e", "1xfourier1"), ("1xfourier1", "6x0e"),
    ]  # fmt: skip
    total = sum(parameter.numel() for parameter in model.parameters())
    assert sum(layer.num_parameters for layer in cost.layers) == total


@pytest.mark.parametrize(("is_slow", "least", "most"), [(False, 1 / 2, 1), (True, 1, 1.25)])
def test_half_precision_saves_less_where_the_processor_has_it(
    model, cost, monkeypatch, is_slow, least, most
):
    for user in (conv, voxelwise):
        monkeypatch.setattr(user, "has_slow_bfloat16", lambda device: is_slow)
    train = HPARAMS.train.model_copy(update={"precision": "bf16-mixed"})
    mixed = calc_cost(HPARAMS.model_copy(update={"train": train}), model, batch_size=BATCH_SIZE)
    assert mixed.multiply_adds == cost.multiply_adds
    assert least <= mixed.saved_bytes / cost.saved_bytes < most


def test_planning_leaves_the_model_as_it_was(model, cost):
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model(torch.rand(1, *model.image_shape)).isfinite().all()


def test_plan_says_what_would_train(make_expt, capsys):
    expt = make_expt({"runs:\n  a:\n": "runs:\n  a:\n  big:\n    model:\n      latent: 80x0e\n"
                      "    loss:\n      reduction: mean\n"})
    assert run_command(["plan", str(expt.path), "big"]) == 0
    out, err = capsys.readouterr()
    assert re.search(
        r"^1  big +[\d,]+  80×5×5×5 +0\.8! +15 +2 +[\d.]+ M +[\d.]+ kB +[\d.e+]+ +[\d.e+]+ +\d+ s$",
        out, re.MULTILINE)  # fmt: skip
    assert "encoder.blocks.0  6x0e -> 1xfourier1+2x0e" in out
    assert "confounded: model.latent and loss.reduction vary only together" in out
    assert "big: at the first step, the beta × prior loss is" in out
    assert "warning: model.latent: 10,000 numbers, no fewer than the image's 7,986" in err
    assert not (expt.path / "runs").exists()

    assert run_command(["plan", str(expt.path), "small"]) == 2
    assert capsys.readouterr().err.endswith("run 'small' is unknown; known: a, big\n")
    assert run_command(["plan", str(expt.path), "--device", "tpu"]) == 2
    assert capsys.readouterr().err == "--device: expected auto, cpu or cuda, got 'tpu'\n"


def test_time_is_that_of_all_steps_and_held_out_crops(make_expt, monkeypatch):
    expt = make_expt({"batch_size: 2": "batch_size: 8", "num_test_crops: 3": "num_test_crops: 7"})
    # A step takes a second, as does a validation; both are of 4 crops.
    seconds = count()
    monkeypatch.setattr(plan, "_read_clock", lambda device: next(seconds))
    hparams = load_hparams(expt.path / "hparams.nt")["a"]
    steps = plan.try_first_steps(hparams, expt.path, device="cpu")
    assert steps.step_s == 8 / 4
    assert steps.total_s == 3 * 5 * 8 / 4 + (3 * 3 + 7) / 4
    assert steps.losses["data loss"] > 0
    monkeypatch.setattr(VAEObjective, "estimate_test", lambda self: 10.0)
    longer = plan.try_first_steps(hparams, expt.path, device="cpu")
    assert longer.total_s == steps.total_s + 10 / 4


@pytest.mark.parametrize(
    ("factor", "chosen"), [(1.2, "bf16-mixed"), (1.05, "32-true"), (0.002, "32-true")]
)
def test_automatic_precision_is_the_faster_one(make_expt, monkeypatch, factor, chosen):
    expt = make_expt({"epochs: 3": "epochs: 3\n    precision: auto"})
    hparams = load_hparams(expt.path / "hparams.nt")["a"]

    def take_step(trial, precision):
        # The first of each warms up.
        time_s = 9.0 if precision not in known else 1.0 if precision == "bf16-mixed" else factor
        known.add(precision)
        return torch.zeros(3), time_s

    known = set()
    monkeypatch.setattr(plan._Trial, "take_step", take_step)
    found = plan.choose_precision(hparams, expt.path, device="cpu")
    assert (found.chosen, found.speedup) == (chosen, factor)
    # Where the number format is given, nothing is measured.
    assert plan.choose_precision(HPARAMS, expt.path, device="cpu") is None


def test_losses_of_the_plan_are_those_that_add_up():
    loss = HPARAMS.loss.model_copy(update={"beta": 0.25})
    hparams = HPARAMS.model_copy(update={"loss": loss})
    losses = {"loss": 4.0, "data_loss": 2.0, "prior_loss": 8.0}
    assert get_kind("vae").first_losses(losses, hparams) == {"data loss": 2, "beta × prior": 2}


def test_dry_run_is_the_same_as_plan(make_expt, capsys):
    expt = make_expt()
    code, stdout, _ = expt.train("--dry-run", "--device", "cpu")
    assert code == 0
    assert run_command(["plan", str(expt.path), "--device", "cpu"]) == 0

    def drop_time(text):
        return re.sub(r"\d+ s$", "", text, flags=re.MULTILINE)

    assert drop_time(stdout) == drop_time(capsys.readouterr().out)


def test_find_confounded(tmp_path):
    path = tmp_path / "hparams.nt"
    path.write_text(
        "shared:\n  model:\n    {layers: [4x0e], latent: 1x0e}\n  train:\n"
        "    {epochs: 1, steps_per_epoch: 1}\nruns:\n  b{loss.beta}-{optim.batch_size}:\n"
        "    grid:\n      loss.beta:\n        - 1\n        - 2\n    zip:\n"
        "      optim.batch_size:\n        - 1\n        - 2\n      optim.learning_rate:\n"
        "        - 0.1\n        - 0.2\n      seed:\n        - 3\n        - 4\n"
    )
    assert describe_confounded(load_hparams(path)) == [
        "confounded: optim.learning_rate and optim.batch_size vary only together: their effects "
        "can't be told apart"
    ]
    assert describe_confounded({}) == []


@pytest.mark.parametrize(
    ("data_loss", "prior_loss", "text"),
    [
        (1, 5, None),
        (2, 400, "at the first step, the beta × prior loss is 200 times the data loss: the "
         "latent may collapse"),
        (400, 2, "at the first step, the data loss is 200 times the beta × prior loss"),
        (4, 0, "at the first step, the beta × prior loss is zero beside the data loss"),
    ],
)  # fmt: skip
def test_notes_on_losses(data_loss, prior_loss, text, model):
    losses = {"data loss": float(data_loss), "beta × prior": float(prior_loss)}
    notes = list_notes(HPARAMS, FirstSteps(losses, 1, 1), model, {})
    assert notes == ([text] if text else [])


def test_notes_that_differ_only_in_numbers_are_one():
    dominant = "the data loss is {} times the prior loss"
    notes = [
        ("a", dominant.format("1,200")), ("b", dominant.format("96")), ("c", "weights of x/run-3"),
        ("d", dominant.format("140")), ("e", "weights of x/run-4"), ("f", dominant.format("96")),
    ]  # fmt: skip
    assert group_notes(notes) == [
        "a, b and 2 more runs: the data loss is 96 to 1,200 times the prior loss",
        "c: weights of x/run-3",
        "e: weights of x/run-4",
    ]
    assert group_notes([("a", "no weights"), ("b", "no weights")]) == ["a, b: no weights"]


@pytest.mark.parametrize(
    ("device", "num_devices", "num_nodes", "end"),
    [
        ("cpu", 1, 1, "on cpu, scaled up."),
        ("cpu", 4, 1, "on cpu, scaled up, as 4 processes share its cores."),
        ("cpu", 2, 2, "on cpu, scaled up, divided by 2."),
        ("cpu", 8, 2, "on cpu, scaled up, divided by 2, as 4 processes share its cores."),
        ("cuda", 8, 2, "on cuda, scaled up, divided by 8."),
    ],
)
def test_how_the_time_of_a_plan_is_scaled(device, num_devices, num_nodes, end):
    text = " ".join(describe_table(device, num_devices, num_nodes).split())
    assert text.endswith(end)
