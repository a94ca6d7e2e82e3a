"""Truth: the trained model itself, records, the exit codes and texts that users see."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save

import atompaint_vae
from atompaint_vae.analysis.reconstructions import calc_r2
from atompaint_vae.cli import run_command
from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.config.hparams import load_resolved
from atompaint_vae.data.crops.dataset import collate_crops, make_crops
from atompaint_vae.data.structures.table import read_structure
from atompaint_vae.publishing import publish
from atompaint_vae.records.metrics import load_metrics
from atompaint_vae.records.record import (
    RunPaths,
    load_record,
    save_record,
    update_record,
)
from atompaint_vae.text.errors import UserError
from atompaint_vae.training import weights as pretrained
from atompaint_vae.training.checkpoints import load_checkpoint
from atompaint_vae.training.evaluate import calc_test_metrics
from atompaint_vae.training.plan import build_model

ROOT = Path(__file__).parents[2]
NAMES = pretrained.list_pretrained()


# N, CA, C, O and CB of an ideal α-helix: radius [Å], angle [°], height [Å].
HELIX = {
    "N": (1.55, 0, 0), "CA": (2.28, 28, 0.9), "C": (1.68, 54, 2.0), "O": (2.0, 48, 3.2),
    "CB": (3.3, 28, 0.1),
}  # fmt: skip


@pytest.fixture(scope="module")
def structure_file(tmp_path_factory):
    """A PDB file of 36 helices of polyalanine, packed as in proteins; nobody deposited it."""
    lines, spacing_A = [], 9.0
    for x, y in np.ndindex(6, 6):
        for residue in range(30):
            for atom, (radius_A, angle, height_A) in HELIX.items():
                turn = np.radians(angle + 100 * residue)
                at = spacing_A * np.array([x + y / 2, y * 3**0.5 / 2])
                at = at + radius_A * np.array([np.cos(turn), np.sin(turn)])
                lines.append(
                    f"ATOM  {len(lines) + 1:5}  {atom:3} ALA {chr(65 + x)}{30 * y + residue:4}    "
                    f"{at[0]:8.3f}{at[1]:8.3f}{height_A + 1.5 * residue:8.3f}  1.00  0.00"
                    f"          {atom[0]:>2}"
                )
    path = tmp_path_factory.mktemp("structures") / "helices.pdb"
    path.write_text("\n".join([*lines, "END", ""]))
    return path


@pytest.fixture
def run(uncut, tmp_path, monkeypatch):
    """Paths of a small run that is finished, in a notebook of its own."""
    monkeypatch.setattr(pretrained, "PRETRAINED_DIR", tmp_path / "pretrained")
    shutil.copytree(uncut.path, tmp_path / "expts/20240101_x")
    return RunPaths(tmp_path / "expts/20240101_x/runs/a")


@pytest.fixture
def published(run, tmp_path):
    """The same, published as the model `small`."""
    publish_small(run, tmp_path)
    return run


def publish_small(paths, root, name="small"):
    folder, card = root / "pretrained" / name, root / f"docs/models/{name}.rst"
    return publish.publish_run("20240101_x/a", paths, folder, card)


def test_the_published_model_is_the_trained_one(published):
    state = load_checkpoint(published.best)["state_dict"]
    hparams = pretrained.load_pretrained_hparams("small")
    trained = build_model(hparams).eval()
    trained.load_state_dict({x.removeprefix("model."): y for x, y in state.items()})
    before = torch.get_rng_state()
    model = pretrained.load_pretrained("small")
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    assert model.image_std == load_record(published.record).image_std
    image = torch.rand(2, *model.image_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(image), trained(image))


@pytest.mark.parametrize("name", ["small", "20240101_x/a"])
def test_a_trained_model_is_loaded_by_either_name(name, published):
    model, hparams = pretrained.load_trained(name, published.expt_dir)
    assert hparams == pretrained.load_pretrained_hparams("small")
    assert not model.training
    expected = pretrained.load_pretrained("small").state_dict()
    assert all(torch.equal(x, expected[key]) for key, x in model.state_dict().items())


def test_metrics_of_the_published_model_are_those_of_the_test(published):
    hparams = pretrained.load_pretrained_hparams("small")
    crops = make_dataset(hparams, published.expt_dir, "test")
    metrics = calc_test_metrics(pretrained.load_pretrained("small"), hparams, crops)
    recorded = load_metrics(published.test_metrics).iloc[0].drop("step")
    # NaN is R² of a channel without an atom.
    np.testing.assert_allclose([metrics[x] for x in recorded.index], recorded, rtol=1e-4, atol=1e-6)


def test_the_card_names_the_run_and_what_it_recorded(published, tmp_path):
    card = (tmp_path / "docs/models/small.rst").read_text()
    assert 'load_pretrained("small")' in card
    assert ":metric:`20240101_x/a test.r2 .3g`" in card
    assert ":metric:`20240101_x/a num_parameters ,`" in card
    assert ":expt:`20240101_x`" in card
    assert "rotation-equivariant" in card
    shown = re.findall(r":metric:`\S+ test\.(\w+)", card)
    recorded = load_metrics(published.test_metrics).iloc[0]
    assert len(shown) > 5
    assert not recorded[shown].isna().any()


def test_weights_that_were_changed_are_refused(published, tmp_path):
    path = tmp_path / "pretrained/small/weights.safetensors"
    hash_of = hashlib.sha256(path.read_bytes()).hexdigest()
    tensors = load_file(path)
    tensors["image_std"] += 1
    path.write_bytes(save(tensors))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    message = f"{path}: its SHA-256 is {found}, but {hash_of} was published"
    with pytest.raises(pretrained.PretrainedError, match=f"^{re.escape(message)}$"):
        pretrained.load_pretrained("small")


@pytest.mark.parametrize("call", [pretrained.load_pretrained, pretrained.load_pretrained_hparams])
def test_an_unknown_name_is_told_the_known_ones(call, published):
    with pytest.raises(pretrained.PretrainedError, match=r"^unknown model 'smal'; known: small$"):
        call("smal")


def test_what_cannot_be_published_says_why(published, tmp_path, monkeypatch):
    paths = published

    def fail(name="small"):
        with pytest.raises(UserError) as caught:
            publish_small(published, tmp_path, name)
        return str(caught.value)

    expected = "a model's name is made of small letters, digits, '.' and '-', got 'Small model'"
    assert fail("Small model") == expected

    with monkeypatch.context() as patch:
        patch.setattr(publish, "MAX_BYTES", 1000)
        assert fail() == f"{paths.best}: 0.0 MB of weights; at most 0 MB are published"

    record = load_record(paths.record)
    save_record(paths.record, update_record(record, best={**dict(record.best), "step": 7}))
    step = record.best.step
    assert fail() == f"{paths.best}: weights of step {step}, but the record's best is 7"

    save_record(paths.record, update_record(record, state="interrupted"))
    expected = f"{paths.run_dir}: the run is interrupted; only a finished one is published"
    assert fail() == expected

    save_record(paths.record, record)
    shutil.rmtree(paths.checkpoints)
    assert fail() == f"{paths.best}: no such file; publish the run where it was trained"


def test_the_command_publishes_a_run_by_its_name(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(run.expt_dir)
    assert run_command(["publish", "20240101/a", "small"]) == 0
    assert "docs/models/small.rst\n" in capsys.readouterr().out
    assert "20240101_x/a" in (tmp_path / "docs/models/small.rst").read_text()
    assert pretrained.list_pretrained() == ["small"]
    assert run_command(["publish", "20240101/b", "small"]) == 2
    assert capsys.readouterr().err == "unknown run 'b' of 20240101_x; known: a\n"
    shutil.copytree(run.run_dir, run.run_dir.with_name("b"))
    assert run_command(["publish", "20240101", "small"]) == 2
    expected = "'20240101' is not one run; known: 20240101_x/a, 20240101_x/b\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("name", NAMES)
def test_committed_models_are_what_their_runs_recorded(name):
    paths = pretrained.find_pretrained(name)
    record = load_record(paths.record)
    run_dir = ROOT / "expts" / record.experiment / "runs" / record.run
    for file in ("hparams.nt", "record.nt", "test.csv"):
        assert (paths.run_dir / file).read_text() == (run_dir / file).read_text(), file
    hparams, run_id = load_resolved(paths.hparams), f"{record.experiment}/{record.run}"
    card = publish._make_card(run_id, paths, name, hparams)
    assert (ROOT / f"docs/models/{name}.rst").read_text("utf-8") == card
    model = pretrained.load_pretrained(name)
    num_parameters = sum(x.numel() for x in model.parameters())
    # The record counts what was trained.
    if record.inputs:
        assert num_parameters > record.num_parameters
    else:
        assert num_parameters == record.num_parameters
    assert {x.dtype for x in model.parameters()} == {torch.float32}
    if hasattr(model, "image_std"):
        assert model.image_std.item() == pytest.approx(record.image_std)
    assert (paths.run_dir / "weights.safetensors").stat().st_size <= 5_000_000


def test_there_are_models_to_load():
    assert pretrained.BEST in NAMES
    model = atompaint_vae.load_pretrained()
    record = load_record(pretrained.find_pretrained(pretrained.BEST).record)
    assert model.latent_shape == record.sizes["latent_shape"]


def test_a_structure_of_no_split_comes_back(structure_file):
    model, hparams = atompaint_vae.load_pretrained(), pretrained.load_pretrained_hparams()
    crops = make_crops(read_structure(structure_file), hparams.data, num_samples=1, seed=0)
    image = crops.make_images(collate_crops([crops[0]]))
    with torch.no_grad():
        latent = model.encode(image).mean
        reconstruction = model.decode(latent)
    assert latent.shape == (1, *model.latent_shape)
    assert reconstruction.shape == image.shape
    assert calc_r2(image, reconstruction).item() > 0.5


def test_the_command_evaluates_any_structures(structure_file, tmp_path, capsys):
    assert run_command(["evaluate", pretrained.BEST, str(structure_file), "--crops", "2"]) == 0
    out, err = capsys.readouterr()
    first, _, *lines = out.splitlines()
    assert first == "1 structures, 5,400 atoms, 2 crops"
    values = {line.split()[0]: line.split()[1:] for line in lines}
    recorded = load_metrics(pretrained.find_pretrained(pretrained.BEST).test_metrics).iloc[0]
    assert values["r2"][1] == f"{recorded['r2']:.3g}"
    assert float(values["r2"][0]) > 0.5
    assert values["r2_P"][0] == "nan"  # there is none
    assert err == ""

    trained_on = shutil.copy(structure_file, tmp_path / "5pti.pdb")
    run_command(["evaluate", pretrained.BEST, str(trained_on), "--crops", "1"])
    assert capsys.readouterr().err == "the model was trained on 5pti\n"


def test_the_command_evaluates_the_test_structures_of_a_set(few_structures, capsys):
    table = pd.read_csv(few_structures.with_name("few.structures.csv"))
    (test,) = table[table["split"] == "test"].itertuples()
    command = ["evaluate", pretrained.BEST, str(few_structures), "--crops", "1"]
    assert run_command(command) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"1 structures, {test.num_atoms:,} atoms, 1 crops"
    assert err == ""
    assert run_command([*command, "starter"]) == 2
    message = f"{few_structures}: a set can't be evaluated together with other inputs\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("name", ["small", "20240101_x/a", "a"])
def test_the_command_measures_what_the_run_recorded_of_its_test(
    published, name, capsys, monkeypatch
):
    monkeypatch.chdir(published.expt_dir)
    assert run_command(["evaluate", name, "starter", "--crops", "3"]) == 0
    _, _, *lines = capsys.readouterr().out.splitlines()
    values = {name: found for name, *found in map(str.split, lines)}
    del values["equivariance_error_90"]  # a rounding error
    assert len(values) > 5
    for name, found in values.items():
        assert float(found[0]) == pytest.approx(float(found[-1]), rel=0.01, nan_ok=True), name


def test_the_command_lists_structures_of_the_set_that_a_run_was_trained_on(
    run, structure_file, capsys, monkeypatch
):
    monkeypatch.chdir(run.expt_dir)
    run.hparams.write_text(run.hparams.read_text().replace(" starter", " my_set.parquet"))
    Path("my_set.structures.csv").write_text("pdb_id,split\n1ABC,train\n2abc,test\n")
    for name in ("1abc", "2abc"):
        shutil.copy(structure_file, f"{name}.pdb")
    command = ["evaluate", "20240101_x/a", "1abc.pdb", "2abc.pdb", "--crops", "1"]
    assert run_command(command) == 0
    assert capsys.readouterr().err == "the model was trained on 1abc\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["x", "starter"],
            "'x': neither a published model nor experiment/run; known: " + ", ".join(NAMES),
        ),
        (
            [pretrained.BEST, "starter", "--crops", "0"],
            "--crops: expected a number of at least 1, got '0'",
        ),
        ([pretrained.BEST, "nothing.cif"], "nothing.cif: no such file or directory"),
    ],
)
def test_what_cannot_be_evaluated_says_why(arguments, message, capsys):
    assert run_command(["evaluate", *arguments]) == 2
    assert capsys.readouterr().err == f"{message}\n"


def test_import_of_the_package_needs_no_torch():
    code = "import sys, atompaint_vae; assert 'torch' not in sys.modules; atompaint_vae.nothing"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "has no attribute 'nothing'" in ran.stderr


def test_samples_are_decoded_noise():
    model = atompaint_vae.load_pretrained()
    with torch.no_grad():
        images = model.sample(2, generator=torch.Generator().manual_seed(3))
        noise = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(3))
        assert torch.equal(images, model.decode(noise))
    assert images.shape == (2, *model.image_shape)


def test_models_are_float32_whatever_the_default_is():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = atompaint_vae.load_pretrained("finer-cnn-10")
        assert torch.get_default_dtype() == torch.float64
        image = torch.rand(1, *model.image_shape, dtype=torch.float32)
        assert model(image).dtype == torch.float32
        tensors = [x for x in model.state_dict().values() if x.is_floating_point()]
        assert {x.dtype for x in tensors} == {torch.float32}
    finally:
        torch.set_default_dtype(before)
