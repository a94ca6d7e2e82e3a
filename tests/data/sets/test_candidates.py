"""Truth: relatives made by mutation, and the alignment of every pair."""

import shutil

import numpy as np
import pandas as pd
import pytest

from atompaint_vae.data.sets import candidates
from atompaint_vae.data.sets.alignment import AMINO_ACIDS, align_pairs, score_proteins
from atompaint_vae.data.sets.candidates import find_candidates, find_method
from atompaint_vae.data.sets.splits import (
    compare_chains,
    compare_sequences,
    find_methods,
)


def make_families(letters: str, length: int, identity: float, num: int = 12) -> list[str]:
    """Pairs of relatives at places 2i and 2i + 1; pairs are unrelated to each other."""
    rng = np.random.default_rng(0)
    sequences = []
    for _ in range(num):
        first = rng.choice(list(letters), length)
        mutated = np.where(rng.random(length) < identity, first, rng.choice(list(letters), length))
        sequences += ["".join(first), "X" + "".join(mutated)]
    return sequences


@pytest.mark.parametrize(
    ("kind", "letters", "length", "identity"),
    [("protein", AMINO_ACIDS, 200, 0.6), ("nucleic", "ACGU", 80, 0.85), ("nucleic", "ACGT", 14, 1)],
)
def test_relatives_share_words(kind, letters, length, identity):
    sequences = make_families(letters, length, identity)
    pairs = find_candidates(sequences, kind, "k-mers")
    found = set(map(tuple, pairs.tolist()))
    assert {(i, i + 1) for i in range(0, 24, 2)} <= found
    if kind == "protein":
        assert len(found) < 24 * 23 / 2 / 3
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_unknown_letters_and_short_sequences_share_nothing():
    assert len(find_candidates(["XXXXXX", "XXXXXX", "AC", ""], "protein", "k-mers")) == 0


def test_every_pair_is_exact():
    assert find_candidates(["A", "A", "A"], "protein", "exact").tolist() == [[0, 1], [0, 2], [1, 2]]


def test_listed_pairs_are_aligned_as_among_all():
    sequences = make_families(AMINO_ACIDS, 60, 0.5, num=4)
    everything = align_pairs(sequences, score_proteins())
    listed = np.array([[0, 1], [2, 7], [6, 3]])
    some = align_pairs(sequences, score_proteins(), pairs=listed)
    both = everything.merge(some, on=["first", "second"])
    assert some[["first", "second"]].to_numpy().tolist() == [[0, 1], [2, 7], [3, 6]]
    for column in ("score", "num_matches", "num_columns"):
        assert both[f"{column}_x"].tolist() == both[f"{column}_y"].tolist()
    assert len(align_pairs(sequences, score_proteins(), pairs=listed[:0])) == 0


def test_large_sets_are_compared_otherwise(monkeypatch):
    monkeypatch.setattr(candidates.shutil, "which", lambda name: None)
    assert [find_method(n, "protein") for n in (400, 401)] == ["exact", "k-mers"]
    monkeypatch.setattr(candidates.shutil, "which", lambda name: f"bin/{name}")
    assert [find_method(401, kind) for kind in ("protein", "nucleic")] == ["mmseqs2", "k-mers"]


def test_chains_are_compared_as_asked():
    sequences = make_families(AMINO_ACIDS, 200, 0.6, num=3)
    chains = pd.DataFrame({
        "structure": range(6), "chain": "A", "kind": "protein", "sequence": sequences, "names": "",
    })  # fmt: skip
    assert find_methods(chains) == {"protein": "exact", "nucleic": "exact"}
    some = compare_chains(chains, methods={"protein": "k-mers", "nucleic": "exact"})
    every = compare_chains(chains)
    assert some.is_alike.sum() == every.is_alike.sum() == 3
    assert len(some) < len(every) == 15
    with pytest.raises(ValueError, match="unknown method 'guess': expected one of exact, mmseqs2"):
        compare_sequences(sequences, "protein", method="guess")


@pytest.mark.skipif(not shutil.which("mmseqs"), reason="needs MMseqs2")
def test_mmseqs2_finds_relatives():
    pairs = find_candidates(make_families(AMINO_ACIDS, 200, 0.6), "protein", "mmseqs2")
    found = set(map(tuple, pairs.tolist()))
    assert {(i, i + 1) for i in range(0, 24, 2)} <= found
    assert len(found) < 24 * 23 / 2 / 3


def test_a_failure_of_mmseqs2_is_said(tmp_path, monkeypatch):
    script = tmp_path / "mmseqs"
    script.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(ValueError, match=r"^mmseqs failed: no space left$"):
        find_candidates(["AAAA", "CCCC"], "protein", "mmseqs2")
