import json
from pathlib import Path

import nestedtext as nt
import pytest

from atompaint_vae.records.filters import WhereError, filter_runs

CASES = nt.load(Path(__file__).with_name("filters.nt"))
RUNS = [json.loads(run) for run in CASES["runs"]]


def split_case(case):
    where, _, expected = case.rpartition(" =>")
    return where, expected.strip()


@pytest.mark.parametrize("where, expected", [split_case(x) for x in CASES["chosen"]])
def test_filter_chooses(where, expected):
    assert filter_runs(where, RUNS) == [int(x) for x in expected.split()]


@pytest.mark.parametrize("where, expected", [split_case(x) for x in CASES["errors"]])
def test_mistakes_are_told_in_one_line_with_their_column(where, expected):
    with pytest.raises(WhereError) as info:
        filter_runs(where, RUNS)
    assert str(info.value).startswith(expected)
    assert "\n" not in str(info.value)


def test_a_blank_filter_chooses_all():
    assert filter_runs(" ", RUNS) == [0, 1, 2]


def test_an_unknown_property_is_told_with_the_nearest_or_all():
    with pytest.raises(WhereError, match=r"did you mean 'best\(val\.r2\)'\?$"):
        filter_runs("val.r2 > 0.5", RUNS)
    with pytest.raises(WhereError, match=r"did you mean 'loss\.beta'"):
        filter_runs("loss.bata > 0.5", RUNS)
    with pytest.raises(WhereError, match=r"unknown property 'xyzzy'; known: run, seed, loss"):
        filter_runs("xyzzy > 0.5", RUNS)


def test_a_filter_of_no_runs_is_still_checked():
    assert filter_runs("anything == 1", []) == []
    with pytest.raises(WhereError, match="column 12: expected a value"):
        filter_runs("anything ==", [])
