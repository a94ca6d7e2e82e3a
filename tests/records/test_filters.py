import json
from pathlib import Path

import nestedtext as nt
import pytest

from atompaint_vae.records.filters import (
    WhereError,
    describe_nearest,
    filter_runs,
    list_named,
)

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


NUMBERS = [{"size": x, "name": name} for x, name in [(8.5, "deep"), (10.5, "deeper"), (30, "flat")]]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("size == 10", "nearest size: 8.5, 10.5"),
        ("size > 9 and size < 10", "nearest size: 8.5, 10.5"),  # each matches, but not both
        ("size > 40", "nearest size: 30"),
        ("name == dep and size > 0", "nearest name: deep, deeper"),  # only the name fails
        ("name == xyz", ""),
        ("not (size > 0)", "nearest size: 8.5"),
    ],
)
def test_the_nearest_values_when_nothing_matches(where, expected):
    assert filter_runs(where, NUMBERS) == []
    assert describe_nearest(where, NUMBERS) == expected


def test_properties_that_a_filter_names():
    assert list_named("not (size > 1 or name == x) and size < 3", NUMBERS) == ["size", "name"]
    assert list_named(" ", NUMBERS) == []
