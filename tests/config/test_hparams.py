import pickle
import subprocess
import sys
from pathlib import Path

import nestedtext as nt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from atompaint_vae.config.datasets import resolve_source
from atompaint_vae.config.hparams import (
    HparamsError,
    dump_hparams,
    find_differences,
    load_hparams,
    load_resolved,
)
from atompaint_vae.config.schema import Hparams, flatten, list_keys
from atompaint_vae.models.vae.hparams import ModelHparams
from atompaint_vae.nn.fields import parse_field_type

ERRORS = nt.load(Path(__file__).parent / "hparams_errors.nt")

FILE = """\
shared:
  seed: 7
  data:
    source:   a b
    size_voxels: 21
  model:
    layers:
      - 4x0e
      - 2xfourier2+3xquotient1 + 5x3e
    latent: 1x0e
  optim:
    learning_rate: 1e-3
  loss:
  train:
    epochs: 3
    steps_per_epoch: 4
runs:
  plain:
  other-1.0:
    model:
      layers:
        - 8x0e
    loss:
      beta: 4
      reduction:  mean
  empty_section:
    data:
    seed: +8
"""


@pytest.fixture
def hparams_nt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path("hparams.nt")


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS.keys())
def test_load_hparams_errors(case, hparams_nt):
    hparams_nt.write_text(case["file"])
    if "other" in case:
        hparams_nt.with_name("other.nt").write_text(case["other"])
    with pytest.raises(HparamsError) as err:
        load_hparams(hparams_nt)
    assert str(err.value) == case["error"]


HALF = dict.fromkeys([
    "layers", "convs_per_layer", "blocks", "kernel_size", "symmetry", "normalisation", "grid",
    "nonlinearity", "irreps_nonlinearity",
])  # fmt: skip
LOSS = {
    "reduction": "sum", "channel_weights": dict.fromkeys(["C", "N", "O", "P", "S", "other"], 1.0),
    "occupied_weight": 1.0, "beta": 1.0, "beta_schedule": "constant", "beta_steps": 1000,
    "divergence": "kl", "free_nats": 0.0,
}  # fmt: skip


def test_load_hparams(hparams_nt):
    hparams_nt.write_text(FILE)
    runs = load_hparams(hparams_nt)
    plain, other, empty_section = runs.values()

    assert list(runs) == ["plain", "other-1.0", "empty_section"]
    assert plain.model_dump() == {
        "kind": "vae", "seed": 7,
        "data": {"source": "a b", "size_voxels": 21, "num_train_structures": 0,
                 "num_train_crops": 0, "resolution_A": 1.0, "radius_A": 0.75,
                 "min_density_atoms_nm3": 25.0, "density": "sphere", "elements": "all",
                 "min_occupancy": 0.0, "min_nucleic_share": 0.0, "max_nucleic_share": 1.0,
                 "min_border_distance_A": 0.0},
        "model": {"layers": ("4x0e", "2xfourier2+3xquotient1 + 5x3e"), "latent": "1x0e",
                  "convs_per_layer": 1, "blocks": "plain", "kernel_size": 3,
                  "symmetry": "rotation", "normalisation": "batch", "grid": "auto",
                  "nonlinearity": "elu", "irreps_nonlinearity": "gate", "posterior_std": "logvar",
                  "encoder": HALF | {"downsampling": "strided"},
                  "decoder": HALF | {"upsampling": "transposed"},
                  "encoder_weights": "", "encoder_rate": 0.0},
        "loss": LOSS,
        "optim": {"learning_rate": 0.001, "warmup_steps": 50, "gradient_clip": 100.0,
                  "batch_size": 4, "ema_decay": 0.0},
        "train": {"epochs": 3, "steps_per_epoch": 4, "num_val_crops": 32, "num_test_crops": 64,
                  "precision": "32-true"},
    }
    assert type(plain.seed) is int
    assert type(other.loss.beta) is float
    assert other.model.layers == ("8x0e",)  # replaced, not appended
    assert other.model.latent == "1x0e"
    assert other.loss.model_dump() == LOSS | {"reduction": "mean", "beta": 4.0}
    assert empty_section.data == plain.data
    assert empty_section.seed == 8


EXPANDED = """\
shared:
  data:
    source: sets/a.parquet
    resolution_A: 0.3 nm
    radius_A: 75pm
    min_density_atoms_nm3: 0.02 atoms/Å³
    size_voxels: 21 voxels
  model:
    latent: 1x0e
  train:
    epochs: 3
    steps_per_epoch: 4
runs:
  {name}:
    loss:
      reduction: mean
    zip:
      model.layers:
        -
          - 4x0e
          - 8x0e+2x1e
        -
          - 1xfourier1
      seed:
        - 5
        - 6
    grid:
      optim.batch_size:
        - 2
        - 4
      loss.beta:
        - 1e-1
        - +1
"""
NAME = "x-{model.layers}-b{optim.batch_size}-beta{loss.beta}"


def test_load_hparams_expands_grids_and_zips(hparams_nt):
    hparams_nt.write_text(EXPANDED.replace("{name}", NAME))
    runs = load_hparams(hparams_nt)
    varied = {
        name: (run.optim.batch_size, run.loss.beta, run.model.layers, run.seed)
        for name, run in runs.items()
    }
    narrow, wide = (("1xfourier1",), 6), (("4x0e", "8x0e+2x1e"), 5)
    assert varied == {
        "x-4x0e-8x0e-2x1e-b2-beta1e-1": (2, 0.1, *wide),
        "x-1xfourier1-b2-beta1e-1": (2, 0.1, *narrow),
        "x-4x0e-8x0e-2x1e-b2-beta1": (2, 1, *wide),
        "x-1xfourier1-b2-beta1": (2, 1, *narrow),
        "x-4x0e-8x0e-2x1e-b4-beta1e-1": (4, 0.1, *wide),
        "x-1xfourier1-b4-beta1e-1": (4, 0.1, *narrow),
        "x-4x0e-8x0e-2x1e-b4-beta1": (4, 1, *wide),
        "x-1xfourier1-b4-beta1": (4, 1, *narrow),
    }
    assert list(runs)[1] == "x-1xfourier1-b2-beta1e-1"
    assert {run.loss.reduction for run in runs.values()} == {"mean"}
    data = runs["x-1xfourier1-b2-beta1"].data
    assert (data.resolution_A, data.radius_A) == (3.0, 0.75)
    assert (data.min_density_atoms_nm3, data.size_voxels) == (20.0, 21)


def test_load_hparams_inherits(hparams_nt, tmp_path):
    old = tmp_path / "20240101_old"
    (old / "runs" / "a").mkdir(parents=True)
    (tmp_path / "20240102_mid").mkdir()
    (old / "hparams.nt").write_text(EXPANDED.replace("{name}", NAME))
    mid = tmp_path / "20240102_mid/hparams.nt"
    mid.write_text("from: ../20240101_old/hparams.nt\nshared:\n  seed: 9\n  model:\n"
                   "    layers:\n      - 5x0e\nruns:\n  ours:\n")
    (tmp_path / "20240103_new").mkdir()
    new = tmp_path / "20240103_new/hparams.nt"
    text = "from: {}\nshared:\n  model:\n    latent: 2x0e\nruns:\n  b:\n"
    new.write_text(text.format("../20240102_mid/hparams.nt"))
    runs = load_hparams(new)
    assert list(runs) == ["b"]
    run = runs["b"]
    assert (run.seed, run.model.layers, run.model.latent) == (9, ("5x0e",), "2x0e")
    # Begins at our folder, and so does it when a run of the old experiment is inherited from.
    assert run.data.source == "../20240101_old/sets/a.parquet"
    (old / "runs/a/hparams.nt").write_text(dump_hparams(next(iter(
        load_hparams(old / "hparams.nt").values()))))
    new.write_text(text.format("../20240101_old/runs/a/hparams.nt"))
    run = load_hparams(new)["b"]
    assert (run.seed, run.optim.batch_size, run.model.latent) == (5, 2, "2x0e")
    assert run.data.source == "../20240101_old/sets/a.parquet"


def test_resolve_source(hparams_nt):
    hparams_nt.write_text(EXPANDED.replace("{name}", NAME))
    run = next(iter(load_hparams(hparams_nt).values()))
    assert run.data.source == "sets/a.parquet"
    assert resolve_source(run, Path("expts/x")) == Path("expts/x/sets/a.parquet")
    starter = Hparams.model_validate({**run.model_dump(), "data": {}})
    assert resolve_source(starter, Path("expts/x")) == "starter"


@given(st.from_regex(r"[0-9]{1,2}x(fourier|quotient)?[0-9]{1,2}e?", fullmatch=True)
       | st.text(st.sampled_from("0123e +xfourier"), max_size=12))
@example("1x6e")
@example("1x7e")
@example("1xfourier3 +  2x0e")
@example("1xfourier4")
@example("01x1e")
def test_fields_are_those_that_the_layers_know(text):
    values = {"layers": [text], "latent": "1x0e"}
    try:
        parse_field_type(text.strip())  # as text of a file is
    except ValueError:
        with pytest.raises(ValidationError):
            ModelHparams.model_validate(values)
    else:
        ModelHparams.model_validate(values)


def test_load_hparams_byte_order_mark(hparams_nt):
    hparams_nt.write_bytes(b"\xef\xbb\xbf" + FILE.encode())
    assert len(load_hparams(hparams_nt)) == 3


def test_load_hparams_not_utf_8(hparams_nt):
    hparams_nt.write_bytes("runs:\n  é".encode() + b"\xff: 3\n")
    with pytest.raises(HparamsError) as err:
        load_hparams(hparams_nt)
    assert str(err.value) == "hparams.nt:2:4: not UTF-8 text: byte 0xff"


def test_load_hparams_no_file(hparams_nt):
    with pytest.raises(HparamsError) as err:
        load_hparams(hparams_nt)
    assert str(err.value) == "hparams.nt: cannot be read: No such file or directory"

    hparams_nt.mkdir()
    with pytest.raises(HparamsError) as err:
        load_hparams(hparams_nt)
    assert str(err.value) == "hparams.nt: cannot be read: Is a directory"


def test_load_resolved_errors(hparams_nt):
    hparams_nt.write_text("model:\n  latent: 1x0e\nruns:\n  a: 3\n")
    with pytest.raises(HparamsError) as err:
        load_resolved(hparams_nt)
    assert str(err.value).splitlines() == [
        "hparams.nt:1:1: model.layers is missing",
        "hparams.nt:1:1: train.epochs is missing",
        "hparams.nt:1:1: train.steps_per_epoch is missing",
        "hparams.nt:3:1: key 'runs' is unknown; "
        "known here: kind, seed, data, model, loss, optim, train",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from: a\0b\n", "1:7: from: expected the path of another hparams.nt"),
        ("shared:\n  " + 5000 * "[" + 5000 * "]", "1:1: nested too deeply"),
        ("".join(f"{i * ' '}a:\n" for i in range(2000)), "1:1: nested too deeply"),
    ],
)
def test_load_hparams_of_odd_text(hparams_nt, text, message):
    hparams_nt.write_text(text)
    with pytest.raises(HparamsError) as error:
        load_hparams(hparams_nt)
    assert str(error.value).splitlines()[0] == f"hparams.nt:{message}"


@given(st.text(st.sampled_from("ab:-->[]{}, \n\t#\r\x00é\u2028'\"")).map("runs:\n  a".__add__))
def test_load_hparams_of_anything(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "anything.nt"
    path.write_bytes(text.encode())
    with pytest.raises(HparamsError, match=r"anything.nt:\d+:\d+: "):
        load_hparams(path)


positive_ints = st.integers(1, 10**9)
numbers = st.floats(0, 1e30)
positives = st.floats(0, 1e30, exclude_min=True)
lengths = st.floats(0, 1e6, exclude_min=True)
terms = st.builds(
    "{}x{}".format, positive_ints,
    st.sampled_from(["0e", "3e", "fourier0", "fourier3", "quotient2"]))
fields = st.lists(terms, min_size=1, max_size=3).map("+".join)
some_hparams = st.fixed_dictionaries({
    "seed": st.integers(0, 2**32 - 1),
    "data": st.fixed_dictionaries({}, optional={
        "source": st.text(min_size=1).filter(lambda x: x.isprintable() and x.strip()),
        "size_voxels": st.integers(2, 100).map(lambda x: 2 * x + 1),
        "resolution_A": lengths, "radius_A": lengths, "min_density_atoms_nm3": st.floats(0, 176)}),
    "model": st.fixed_dictionaries(
        {"layers": st.lists(fields, min_size=1, max_size=4), "latent": fields},
        optional={"grid": st.sampled_from(["octahedral_48", "octahedral_144"])}),
    "loss": st.fixed_dictionaries({}, optional={
        "beta": numbers, "reduction": st.sampled_from(["mean", "sum"])}),
    "optim": st.fixed_dictionaries({}, optional={
        "learning_rate": positives, "gradient_clip": numbers}),
    "train": st.fixed_dictionaries({"epochs": positive_ints, "steps_per_epoch": positive_ints}),
}).map(Hparams.model_validate)


@given(some_hparams)
def test_dump_and_load_resolved(tmp_path_factory, hparams):
    path = tmp_path_factory.getbasetemp() / "resolved.nt"
    path.write_text(dump_hparams(hparams))
    assert load_resolved(path) == hparams


@given(some_hparams, some_hparams)
def test_find_differences_is_all_there_is(a, b):
    differences = find_differences({"a": a, "b": b})
    assert {**flatten(a), **differences["b"]} == flatten(b)
    assert {**flatten(b), **differences["a"]} == flatten(a)
    assert all(differences["a"][key] != differences["b"][key] for key in differences["a"])


def test_find_differences(hparams_nt):
    hparams_nt.write_text(FILE)
    assert find_differences(load_hparams(hparams_nt)) == {
        "plain": {"seed": 7, "model.layers": ("4x0e", "2xfourier2+3xquotient1 + 5x3e"),
                  "loss.reduction": "sum", "loss.beta": 1.0},
        "other-1.0": {"seed": 7, "model.layers": ("8x0e",), "loss.reduction": "mean",
                      "loss.beta": 4.0},
        "empty_section": {"seed": 8, "model.layers": ("4x0e", "2xfourier2+3xquotient1 + 5x3e"),
                          "loss.reduction": "sum", "loss.beta": 1.0},
    }
    assert find_differences({}) == {}


def test_hparams_of_python_are_stripped_like_those_of_a_file(hparams_nt):
    hparams_nt.write_text(FILE)
    values = load_hparams(hparams_nt)["plain"].model_dump()
    values["data"]["source"] = " a b "
    assert Hparams.model_validate(values).data.source == "a b"


def test_hparams_are_frozen(hparams_nt):
    hparams_nt.write_text(FILE)
    hparams = load_hparams(hparams_nt)["plain"]
    with pytest.raises(ValidationError, match="frozen"):
        hparams.loss.beta = 3.0
    assert hash(hparams) == hash(load_hparams(hparams_nt)["plain"])


def test_list_keys():
    keys = {key.name: key for key in list_keys()}
    assert keys["data.size_voxels"].expected == "an odd number of voxels >= 5"
    assert keys["data.size_voxels"].default == "35"
    assert keys["model.latent"].default is None
    assert keys["loss.reduction"].expected == "one of 'mean', 'sum', 'optimal'"
    assert all(key.description.endswith(".") for key in keys.values())


def test_imports_neither_torch_nor_pandas():
    # Pages are built where torch is not installed, and `./train.py --help` has to be quick.
    code = ("import sys, atompaint_vae.config.hparams, atompaint_vae.records.metrics; "
            "sys.exit(bool({'torch', 'pandas', 'e3nn', 'lightning'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_key_of_nothing_but_a_carriage_return(tmp_path):
    # NestedText knows the line of this mistake, but no column.
    path = tmp_path / "hparams.nt"
    path.write_bytes(b":\r:")
    with pytest.raises(HparamsError, match=r"hparams.nt:\d+:\d+: "):
        load_hparams(path)


def test_hparams_reach_other_processes(tmp_path):
    path = tmp_path / "hparams.nt"
    path.write_text("shared:\n  model:\n    layers:\n      - 2x0e\n    latent: 1x0e\n"
                    "  train:\n    epochs: 1\n    steps_per_epoch: 1\nruns:\n  a:\n")
    hparams = load_hparams(path)["a"]
    found = pickle.loads(pickle.dumps(hparams))
    assert found == hparams
    assert type(found) is type(hparams)
