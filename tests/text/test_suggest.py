import pytest

from atompaint_vae.text.suggest import suggest

METRICS = ["test.r2", "val.loss", "val.r2", "val.r2_C", "train.loss"]


@pytest.mark.parametrize(
    "name, known, near, expected",
    [
        ("val.r3", METRICS, [], "did you mean 'val.r2'?"),
        ("val.los", METRICS, [], "did you mean 'val.loss'?"),
        ("2025030", ["20250101", "20250202"], [], "did you mean '20250202' or '20250101'?"),
        ("r2", METRICS, ["last(r2)", "best(r2)"], "did you mean 'last(r2)' or 'best(r2)'?"),
        ("zzz", METRICS, [], "known: test.r2, val.loss, val.r2, val.r2_C, train.loss"),
        ("zzz", list("abcdefgh"), [], "known: a, b, c, d, e, f and 2 more"),
        ("zzz", [], [], "known: none"),
        ("", METRICS, [], "known: test.r2, val.loss, val.r2, val.r2_C, train.loss"),
    ],
)
def test_a_hint_is_short(name, known, near, expected):
    assert suggest(name, known, near) == expected
