import subprocess
import sys
from pathlib import Path

import nestedtext as nt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from atompaint_vae.runs.hparams import (
    Hparams,
    HparamsError,
    dump_hparams,
    find_differences,
    flatten,
    list_keys,
    load_hparams,
    load_resolved,
)

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
    with pytest.raises(HparamsError) as err:
        load_hparams(hparams_nt)
    assert str(err.value) == case["error"]


def test_load_hparams(hparams_nt):
    hparams_nt.write_text(FILE)
    runs = load_hparams(hparams_nt)
    plain, other, empty_section = runs.values()

    assert list(runs) == ["plain", "other-1.0", "empty_section"]
    assert plain.model_dump() == {
        "seed": 7,
        "data": {"source": "a b", "size_voxels": 21, "resolution_A": 1.0, "radius_A": 0.75,
                 "min_density_atoms_nm3": 25.0, "density": "sphere", "elements": "all",
                 "min_occupancy": 0.0, "min_nucleic_share": 0.0, "max_nucleic_share": 1.0,
                 "min_border_distance_A": 0.0},
        "model": {"layers": ("4x0e", "2xfourier2+3xquotient1 + 5x3e"), "latent": "1x0e",
                  "convs_per_layer": 1, "grid": "octahedral_96", "nonlinearity": "elu"},
        "loss": {"reduction": "sum", "beta": 1.0},
        "optim": {"learning_rate": 0.001, "warmup_steps": 50, "gradient_clip": 100.0,
                  "batch_size": 4},
        "train": {"epochs": 3, "steps_per_epoch": 4, "num_val_crops": 32, "num_test_crops": 64,
                  "precision": "32-true"},
    }
    assert type(plain.seed) is int
    assert type(other.loss.beta) is float
    assert other.model.layers == ("8x0e",)  # replaced, not appended
    assert other.model.latent == "1x0e"
    assert other.loss.model_dump() == {"reduction": "mean", "beta": 4.0}
    assert empty_section.data == plain.data
    assert empty_section.seed == 8


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
        "known here: seed, data, model, loss, optim, train",
    ]


@given(st.text(st.sampled_from("ab:-->[]{}, \n\t#\r\x00é\u2028'\"")).map("runs:\n  a".__add__))
def test_load_hparams_of_anything(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "anything.nt"
    path.write_bytes(text.encode())
    with pytest.raises(HparamsError, match=r"anything.nt:\d+:\d+: "):
        load_hparams(path)


positive_ints = st.integers(1, 10**12)
numbers = st.floats(0, allow_infinity=False)
positives = st.floats(0, allow_infinity=False, exclude_min=True)
terms = st.builds(
    "{}x{}".format, positive_ints,
    st.sampled_from(["0e", "3e", "fourier0", "fourier3", "quotient2"]))
fields = st.lists(terms, min_size=1, max_size=3).map("+".join)
some_hparams = st.fixed_dictionaries({
    "seed": st.integers(0, 2**32 - 1),
    "data": st.fixed_dictionaries({}, optional={
        "source": st.text(min_size=1).filter(lambda x: x.isprintable() and x.strip()),
        "size_voxels": st.integers(2, 100).map(lambda x: 2 * x + 1),
        "resolution_A": positives, "radius_A": positives, "min_density_atoms_nm3": numbers}),
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
    assert Hparams(**values).data.source == "a b"


def test_hparams_are_frozen(hparams_nt):
    hparams_nt.write_text(FILE)
    hparams = load_hparams(hparams_nt)["plain"]
    with pytest.raises(ValidationError, match="frozen"):
        hparams.loss.beta = 3.0
    assert hash(hparams) == hash(load_hparams(hparams_nt)["plain"])


def test_list_keys():
    keys = {key.name: key for key in list_keys()}
    assert keys["data.size_voxels"].expected == "an odd integer >= 5"
    assert keys["data.size_voxels"].default == "35"
    assert keys["model.latent"].default is None
    assert keys["loss.reduction"].expected == "one of 'mean', 'sum'"
    assert all(key.description.endswith(".") for key in keys.values())


def test_imports_neither_torch_nor_pandas():
    # Pages are built where torch is not installed, and `./train.py --help` has to be quick.
    code = ("import sys, atompaint_vae.runs.hparams, atompaint_vae.runs.metrics; "
            "sys.exit(bool({'torch', 'pandas', 'e3nn', 'lightning'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_key_of_nothing_but_a_carriage_return(tmp_path):
    # NestedText knows the line of this mistake, but no column.
    path = tmp_path / "hparams.nt"
    path.write_bytes(b":\r:")
    with pytest.raises(HparamsError, match=r"hparams.nt:\d+:\d+: "):
        load_hparams(path)
