import json
from pathlib import Path

import nestedtext as nt
import pytest

from atompaint_vae.records.compare import (
    choose_columns,
    describe_code,
    find_confounded,
    find_incomparable,
    find_varied,
    group_seeds,
    name_group,
    name_runs,
    write_cells,
)
from atompaint_vae.records.find import find_runs
from atompaint_vae.records.properties import PropertyError, load_runs

CASES = nt.load(Path(__file__).with_name("compare.nt"), top=list)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_is_said_of_runs(case):
    runs = [json.loads(run) for run in case["runs"]]
    assert find_varied(runs) == case["varied"].split()
    assert find_confounded(runs) == [
        f"confounded: {keys} vary only together: their effects can't be told apart"
        for keys in case["confounded"]
    ]
    assert find_incomparable(runs, [case.get("metrics", "val.r2")]) == [
        f"not comparable: {text}" for text in case.get("incomparable", [])
    ]


def test_runs_that_differ_in_their_seed_alone_are_grouped():
    runs = [
        {"loss.beta": 1, "seed": 0, "data_hash": "a"},
        {"loss.beta": 2, "seed": 0, "data_hash": "a"},
        {"loss.beta": 1, "seed": 1, "data_hash": "a"},
        {"loss.beta": 1, "seed": 2, "data_hash": "b"},
    ]
    assert group_seeds(runs) == [[0, 2], [1], [3]]


@pytest.mark.parametrize(
    "names, expected",
    [
        (["wide"], "wide"),
        (["wide_seed0", "wide_seed12"], "wide (2 seeds)"),
        (["beta=1,seed=0", "beta=1,seed=1"], "beta=1 (2 seeds)"),
        (["a-1", "b-1"], "a-1 (2 seeds)"),
    ],
)
def test_name_of_a_group(names, expected):
    assert name_group(names) == expected


def test_runs_of_one_experiment_need_not_name_it():
    assert name_runs(["2024_x/a", "2024_x/b"]) == ["a", "b"]
    assert name_runs(["2024_x/a", "2025_x/a"]) == ["2024_x/a", "2025_x/a"]


@pytest.fixture
def runs(write_run, tmp_path):
    write_run(tmp_path / "20250101_x", "a", {"loss.beta": 0.5}, commit="b" * 40)
    write_run(tmp_path / "20250101_x", "b", {"loss.beta": 2}, test=False, commit="c" * 40)
    return load_runs(find_runs(tmp_path))


def test_columns_are_what_differs_and_metrics_with_their_reducer(runs):
    assert choose_columns(runs, ["val.r2", "test.r2", "train.loss"]) == [
        "run", "last(val.r2)", "best(val.r2)", "test.r2", "last(train.loss)", "best(train.loss)",
        "loss.beta", "state", "duration_s",
    ]  # fmt: skip
    assert choose_columns(runs, [], ["seed"]) == ["run", "seed", "state", "duration_s"]
    cells = write_cells(runs[1].properties, ["run", "loss.beta", "duration_s", "test.r2", "commit"])
    assert cells == ["b", "2", "20.0", "", "cccccccc"]


def test_unknown_columns_are_told(runs):
    with pytest.raises(PropertyError, match=r"unknown metric 'val\.r3'; did you mean 'val\.r2'\?$"):
        choose_columns(runs, ["val.r3"])
    with pytest.raises(PropertyError, match=r"unknown property 'loss\.bata'; did you mean 'loss"):
        choose_columns(runs, [], ["loss.bata"])


def test_code_between_runs_is_a_command(runs):
    assert describe_code([run.properties for run in runs]) == [
        "code: bbbbbbbb (1 run) or cccccccc (1 run)",
        "git diff bbbbbbbb cccccccc -- atompaint_vae",
    ]
