"""atompaint-vae paint, with a denoiser that knows the image, and one that knows nothing."""

import gemmi
import nestedtext as nt
import numpy as np
import pandas as pd
import pytest
import torch
from small_structure import list_atoms, write_structure

from atompaint_vae import cli
from atompaint_vae.config.schema import Hparams
from atompaint_vae.data.images import read_image_maps
from atompaint_vae.models.diffusion.denoiser import Denoiser
from atompaint_vae.models.diffusion.painting import Painter
from atompaint_vae.text.errors import EXIT_INTERRUPTED, EXIT_MISTAKE
from atompaint_vae.training import weights

HPARAMS = Hparams.model_validate({
    "kind": "diffusion",
    "data": {"size_voxels": 15},
    "model": {"layers": ["2x0e"], "sampler": {"num_steps": 2, "sigma_max": 0.5}},
    "loss": {},
    "optim": {},
    "train": {"epochs": 1, "steps_per_epoch": 1},
})  # fmt: skip


class Knowing(Denoiser):
    """A denoiser that estimates one image, whatever it sees; if it knows none, it is that of
    Gaussian noise, of the standard deviation of images."""

    truth = None

    def forward(self, x, sigma, previous=None):
        if self.truth is None:
            return x * 0.06**2 / (0.06**2 + sigma[0] ** 2)
        return self.scaling(self.truth[None]).expand_as(x)


@pytest.fixture
def model(monkeypatch):
    model = Knowing(["2x0e"], num_channels=6, size_voxels=15).eval().requires_grad_(False)
    monkeypatch.setattr(weights, "load_trained", lambda name, expt_dir: (model, HPARAMS))
    return model


@pytest.fixture
def path(tmp_path):
    return write_structure(tmp_path / "small.cif")


@pytest.fixture
def paint(path):
    def run(structure=path, **options):
        options = {
            "model": "expt/run", "around": "A/100B", "out": path.parent / "out",
            "radius": 4, "num": 2, **options,
        }  # fmt: skip
        words = [str(x) for name, value in options.items() for x in (f"--{name}", value)]
        return cli.run_command(["paint", str(structure), *words])

    return run


def read_files(folder):
    return {x.name: x.read_bytes() for x in folder.rglob("*") if x.is_file()}


def test_a_denoiser_that_knows_the_image_restores_the_file(paint, path, model, monkeypatch, capsys):
    from atompaint_vae.data.structures.formats import parse_structure
    from atompaint_vae.data.structures.regions import calc_center, find_residue, split_atoms
    from atompaint_vae.data.structures.table import read_structure

    center_A = calc_center(find_residue(parse_structure(path), "A/100B"))
    hidden, known = split_atoms(read_structure(path), center_A, 4.0)
    painter = Painter(model, HPARAMS.data, known, 4.0)
    model.truth = painter.known_image + painter.make_image(hidden)
    assert paint() == 0
    out = path.parent / "out"

    # Known atoms are those of the file, and painted ones lie where the hidden ones were.
    after = list_atoms(out / "proposal-01.cif")
    before = list_atoms(path)
    painted = [x for x in after if x[2] == "UNL"]
    kept = [x for x in after if x[2] != "UNL"]
    far = [x for x in before if np.linalg.norm(np.array(x[6:9]) - center_A) >= 4 and x[4] != "B"]
    assert kept == far
    assert {x[0] for x in painted} == {"C"}  # the file has A and B
    places_A = np.array([x[6:9] for x in painted])
    distances_A = np.linalg.norm((hidden.coords_A + center_A)[:, None] - places_A, axis=2)
    assert len(painted) == len(hidden.channels)
    assert distances_A.min(axis=1).max() < 0.1

    recovery = pd.read_csv(out / "recovery.csv")
    assert recovery.proposal.tolist() == [
        "proposal-00", "proposal-01", "reconstructed", "random atoms"
    ]  # fmt: skip
    assert recovery.recall.tolist()[:3] == [1, 1, 1]
    assert recovery.element_precision.tolist()[:2] == [1, 1]
    assert 0 < recovery.recall[3] < 1
    mapped = read_image_maps((out / "maps").glob("proposal-00_*.mrc"))
    np.testing.assert_allclose(mapped.center_A, center_A, atol=1e-3)
    image = torch.where(painter.is_painted, model.truth, painter.known_image)
    np.testing.assert_allclose(mapped.image, image, atol=1e-5)
    page = (out / "index.html").read_text("utf-8")
    assert "2 proposals and 1 structure of 15" in page
    assert "A/100B of small.cif" in page
    printed = capsys.readouterr().out
    num = len(hidden.channels)
    assert printed.startswith(f"{num} heavy atoms hidden, {len(painter.known.channels)} around ")
    assert "% of the voxels are painted" in printed
    assert str(out / "index.html") in printed


def test_pdb_files_too(paint, model, tmp_path):
    path = write_structure(tmp_path / "small.pdb")
    assert paint(num=1, structure=path) == 0
    model = gemmi.read_structure(str(tmp_path / "out/proposal-00.cif"))[0]
    assert model["A"]["100"][0].name not in ("", "UNL")


def test_proposals_depend_on_seed_and_number(paint, model, tmp_path):
    assert paint(out=tmp_path / "a") == 0
    assert paint(num=3, out=tmp_path / "b") == 0
    assert paint(seed=1, out=tmp_path / "c") == 0
    a, b, c = (read_files(tmp_path / x) for x in "abc")
    proposals = [x for x in a if x.startswith("proposal")]
    assert len(proposals) == 2 * (1 + 6)
    assert all(a[x] == b[x] for x in proposals)
    assert a["proposal-00_C.mrc"] != a["proposal-01_C.mrc"]
    assert a["proposal-00_C.mrc"] != c["proposal-00_C.mrc"]


def test_an_interrupted_command_goes_on(paint, model, tmp_path, monkeypatch, capsys):
    assert paint(num=3, out=tmp_path / "whole") == 0
    drawn, sample_steps = [], Painter.sample_steps

    def interrupt(self, *args, indices, **options):
        if drawn == [0]:
            raise KeyboardInterrupt
        drawn.extend(indices)
        return sample_steps(self, *args, indices=indices, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Painter, "sample_steps", interrupt)
        assert paint(num=3) == EXIT_INTERRUPTED
        assert (tmp_path / "out/proposal-00.cif").exists()
        assert not (tmp_path / "out/proposal-01.cif").exists()
        drawn.append("again")
        assert paint(num=3) == 0
    assert drawn == [0, "again", 1, 2]
    assert read_files(tmp_path / "out") == read_files(tmp_path / "whole")


def test_a_folder_of_other_settings_is_refused(paint, model, path, capsys):
    assert paint(num=1) == 0
    before = read_files(path.parent / "out")
    settings = nt.load(path.parent / "out/settings.nt")
    assert settings["around"] == "A/100B"
    assert settings["steps"] == "2"
    for key, value in [
        ("radius", "4 Å, not 3.5 Å"), ("seed", "0, not 7"), ("resamplings", "10, not 2"),
        ("steps", "2, not 3"),
    ]:  # fmt: skip
        number = value.partition("not ")[2].removesuffix(" Å")
        capsys.readouterr()
        assert paint(**{key: number}) == EXIT_MISTAKE
        message = f"settings.nt: the proposals there have {key} {value}; choose another --out\n"
        assert capsys.readouterr().err.endswith(message)
    model.scaling.std += 1
    assert paint() == EXIT_MISTAKE
    assert "the proposals there have weights SHA-256" in capsys.readouterr().err
    assert read_files(path.parent / "out") == before


def test_settings_that_nobody_can_read(paint, model, path, capsys):
    out = path.parent / "out"
    out.mkdir()
    (out / "settings.nt").write_text("- a list\n")
    assert paint() == EXIT_MISTAKE
    error = capsys.readouterr().err
    assert "settings.nt:1:1: expected keys, got " in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"around": "A/999"}, "small.cif: no residue 'A/999'; did you mean 'A/900' or "),
        ({"around": "Q/1"}, "small.cif: no chain 'Q'; known: A, B"),
        ({"around": "100B"}, "small.cif: '100B': expected CHAIN/RESIDUE, such as A/52 or A/52B"),
        ({"around": "B/-5"}, "no known atoms within 7.5 Å of the region"),
        ({"radius": "0.01"}, "small.cif: no heavy atoms within 0.01 Å of A/100B"),
        ({"radius": "7"}, "a sphere of 7 Å doesn't fit into the model's crops of 15 Å; the largest "
                          "radius is 6.75 Å"),
        ({"radius": "x"}, "--radius: expected a length in Å, got 'x'"),
        ({"radius": "-1"}, "--radius: expected a length in Å, got '-1'"),
        ({"num": "0"}, "--num: expected a whole number >= 1, got '0'"),
        ({"seed": "a"}, "--seed: expected a whole number >= 0, got 'a'"),
        ({"resamplings": "0"}, "--resamplings: expected a whole number >= 1, got '0'"),
        ({"steps": "0"}, "--steps: expected a whole number >= 1, got '0'"),
        ({"structure": "missing.cif"}, "missing.cif: no such file or directory"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(paint, model, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    options = {"structure": "small.cif", **options}
    assert paint(**options) == EXIT_MISTAKE
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_structure(paint, model, tmp_path, capsys):
    (tmp_path / "wrong.cif").write_text("data_x\n_a.b 1\n")
    assert paint(structure=tmp_path / "wrong.cif") == EXIT_MISTAKE
    assert capsys.readouterr().err.endswith("wrong.cif: no atoms: no category _atom_site\n")


def test_models_of_another_kind(path, capsys):
    options = ["paint", str(path), "--around", "A/100B", "--out", str(path.parent / "out")]
    assert cli.run_command([*options, "--model", "finer-10"]) == EXIT_MISTAKE
    error = capsys.readouterr().err
    assert error == "finer-10: a model of kind vae; expected diffusion\n"
    assert cli.run_command([*options, "--model", "finer"]) == EXIT_MISTAKE
    assert "'finer': neither a published model nor experiment/run" in capsys.readouterr().err


def test_steps_and_resamplings_are_those_of_the_options(paint, model, monkeypatch, tmp_path):
    levels = []
    forward = Knowing.forward

    def record(self, x, sigma, previous=None):
        levels.append(sigma[0].item())
        return forward(self, x, sigma, previous)

    monkeypatch.setattr(Knowing, "forward", record)
    assert paint(num=1, steps=3, resamplings=1) == 0
    assert len(levels) == 2 + 2 + 1
    levels.clear()
    assert paint(num=1, steps=3, resamplings=4, out=tmp_path / "again") == 0
    assert len(levels) == 4 * (2 + 2) + 1
    assert torch.tensor(levels).max() == 0.5
