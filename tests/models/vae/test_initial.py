"""Encoders that begin with the weights of another model's."""

from pathlib import Path

import pytest
import torch

from atompaint_vae.config.checks import check_experiment
from atompaint_vae.models.vae.initial import find_difference, take_over_encoder
from atompaint_vae.models.vae.vae import VAE
from atompaint_vae.records.record import load_record
from atompaint_vae.text.located import list_problems
from atompaint_vae.training.weights import (
    check_inputs,
    load_run_weights,
    make_trained,
)

LAYERS = ["4x0e+2x1e", "6x0e", "3x0e+1x1e"]

STUDENT = """\
  a:
  b:
    model:
      encoder_weights: 20240101_x/a
      decoder:
        symmetry: none
        upsampling: trilinear
        blocks: residual
        convs_per_layer: 2
"""


def make_vae(num_layers: int, latent: str = "2x0e+1x1e", **options) -> VAE:
    model = VAE(LAYERS[:num_layers], latent, num_channels=6, size_voxels=17, **options)
    model(torch.rand(4, *model.image_shape))  # moves the running statistics off their start
    return model.eval()


def test_the_first_layers_are_those_of_the_other_model():
    source, model = make_vae(3), make_vae(2)
    image, head = torch.rand(1, *model.image_shape), model.encoder.head.weights["0to0"].clone()
    expected = source.encoder.blocks[:2](image)
    assert not torch.allclose(model.encoder.blocks(image), expected)
    take_over_encoder(model, source, is_trained=False)
    assert torch.equal(model.encoder.blocks(image), expected)
    assert torch.equal(model.encoder.head.weights["0to0"], head)
    assert model.loaded == ("encoder.blocks",)
    trained = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert trained == {"encoder", "decoder"}
    assert all(name.startswith("encoder.blocks.") for name in frozen)


@pytest.mark.parametrize(
    ("num_layers", "options", "difference"),
    [
        (2, {}, None),
        (3, {}, "the number of layers differs"),
        (2, {"latent": "3x0e"}, "latent differs"),
        (2, {"posterior_std": "softplus"}, "posterior_std differs"),
    ],
)
def test_a_vae_of_the_same_latent_gives_its_posterior(num_layers, options, difference):
    source, model = make_vae(num_layers, **options), make_vae(2)
    take_over_encoder(model, source, is_trained=True)
    is_whole = difference is None
    assert model.loaded == ("encoder.blocks", "encoder.head")[: 1 + is_whole]
    assert find_difference(model, source) == difference
    assert all(p.requires_grad for p in model.parameters())
    if is_whole:
        image = torch.rand(1, *model.image_shape)
        assert torch.equal(model.encode(image).mean, source.encode(image).mean)


def check(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "expts/20240101_x/hparams.nt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    problems = list_problems(check_inputs(check_experiment(path), path.parent))
    return [line.replace(f"{path}:", "") for line in problems.splitlines()]


OF_PUBLISHED = """\
shared:
  model:
    convs_per_layer: 2
    latent: 3x0e
    encoder_weights: finer-wide-10
    layers:
      - 32x0e+16x1e+8x2e
  train:
    {epochs: 1, steps_per_epoch: 60}
runs:
  a:
"""


def test_an_encoder_has_to_be_the_beginning_of_the_other(tmp_path):
    assert check(OF_PUBLISHED, tmp_path) == []
    wrong = (
        OF_PUBLISHED.replace("    convs_per_layer: 2\n", "    encoder:\n      blocks: residual\n")
        .replace("32x0e", "30x0e")
        .replace("  train:", "  data:\n    density: gaussian\n    elements: C N\n  train:")
    )
    of = "but the encoder of finer-wide-10 has"
    assert check(wrong, tmp_path) == [
        f"3:5: model.convs_per_layer: 1, {of} 2",
        f"4:15: model.encoder.blocks: residual, {of} plain",
        f"8:7: model.layers: 30x0e+16x1e+8x2e, {of} 32x0e+16x1e+8x2e",
        "10:14: data.density: gaussian, but the images of finer-wide-10 have sphere",
        "11:15: data.elements: C N, but the images of finer-wide-10 have all",
    ]
    more = OF_PUBLISHED.replace("  train:", "      - 6x0e\n  train:")
    assert check(more, tmp_path) == [
        f"7:7: model.layers: 32x0e+16x1e+8x2e → 6x0e, {of} 32x0e+16x1e+8x2e"
    ]


def test_a_model_that_there_is_not(tmp_path):
    unknown = OF_PUBLISHED.replace("finer-wide-10", "finer-wide")
    (problem,) = check(unknown, tmp_path)
    assert problem.startswith("5:22: model.encoder_weights: 'finer-wide': neither a published ")
    assert "finer-wide-10" in problem
    (problem,) = check(OF_PUBLISHED.replace("finer-wide-10", "20240101_x/c"), tmp_path)
    assert problem.startswith("5:22: model.encoder_weights: ")
    # It may be a run that isn't trained yet.
    both = OF_PUBLISHED.replace("    encoder_weights: finer-wide-10\n", "")
    both += "  b:\n    model:\n      encoder_weights: 20240101_x/a\n"
    assert check(both, tmp_path) == []
    assert check(both + "      convs_per_layer: 1\n", tmp_path) == [
        "14:24: model.convs_per_layer: 1, but the encoder of 20240101_x/a has 2"
    ]


def test_the_plan_says_what_is_taken_over(make_expt):
    half = "    model:\n      latent: 2x0e+1x1e\n      encoder_weights: finer-"
    expt = make_expt({
        "      - 1xfourier1+2x0e\n": "      - 32x0e+16x1e+8x2e\n    convs_per_layer: 2\n",
        "  a:\n": f"  a:\n{half}wide-10\n  b:\n{half}wide-10\n      encoder_rate: 0.1\n"
                  "      posterior_std: softplus\n  c:\n",
    }, inside="expts")  # fmt: skip
    code, stdout, stderr = expt.train("--dry-run")
    assert code == 0, stderr
    notes = [line for line in stdout.splitlines() if "encoder_weights" in line]
    assert notes == [
        "a: encoder_weights: encoder and posterior of finer-wide-10, frozen",
        "b: encoder_weights: encoder of finer-wide-10, trained at 0.1 × the learning rate; its "
        "posterior is new: posterior_std differs",
    ]


def test_training_with_an_encoder_of_another_run(make_expt):
    expt = make_expt({"  a:\n": STUDENT, "steps_per_epoch: 5": "steps_per_epoch: 2"},
                     inside="expts")  # fmt: skip
    code, _, stderr = expt.train("b")
    assert code == 2
    assert "model.encoder_weights: " in stderr
    for args in (["a"], ["b", "--max-steps", "3"], ["b"]):
        code, _, stderr = expt.train(*args)
        assert code == 0, stderr
    weights = {name: load_run_weights(expt.get_paths(name)) for name in "ab"}
    for name, tensor in weights["a"].items():  # the running statistics too
        if name.startswith("encoder."):
            assert torch.equal(tensor, weights["b"][name]), name
    records = {name: load_record(expt.get_paths(name).record) for name in "ab"}
    assert list(records["b"].inputs) == ["model.encoder_weights"]
    assert records["b"].image_std == pytest.approx(records["a"].image_std, rel=1e-7)
    # The trained model holds all it needs.
    expt.get_paths("a").best.unlink()
    model = make_trained(expt.get_paths("b"), weights["b"])
    assert model.decoder.blocks[0].conv.irreps_in.lmax == 0


def test_an_encoder_that_is_trained_further(make_expt):
    student = STUDENT.replace("      decoder:\n", "      encoder_rate: 0.25\n      decoder:\n")
    expt = make_expt({"  a:\n": student, "steps_per_epoch: 5": "steps_per_epoch: 2"},
                     inside="expts")  # fmt: skip
    for name in "ab":
        code, _, stderr = expt.train(name)
        assert code == 0, stderr
    weights = {name: load_run_weights(expt.get_paths(name)) for name in "ab"}
    name = "encoder.blocks.0.conv.weights.0to0"
    assert not torch.equal(weights["a"][name], weights["b"][name])
    groups = torch.load(expt.get_paths("b").last, weights_only=True)["optimizer_states"][0]
    rates = [group["initial_lr"] for group in groups["param_groups"]]
    assert sorted(rates) == pytest.approx([2e-2 / 4, 2e-2])
