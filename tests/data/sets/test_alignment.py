"""Alignments against hand-written ones and a plain Smith-Waterman, one cell at a time."""

import numpy as np
import pandas as pd
import pytest

from atompaint_vae.data.sets import alignment
from atompaint_vae.data.sets.alignment import (
    AMINO_ACIDS,
    BASES,
    align_pairs,
    score_nucleic_acids,
    score_proteins,
)


def align_two(first: str, second: str, scoring) -> tuple[int, int, int]:
    (pair,) = align_pairs([first, second], scoring).itertuples(index=False)
    assert (pair.first, pair.second) == (0, 1)
    return pair.score, pair.num_matches, pair.num_columns


def test_scores_are_those_of_blosum62():
    scoring = score_proteins()
    index = {letter: i for i, letter in enumerate(AMINO_ACIDS)}
    # From the published table.
    for pair, score in {"WW": 11, "CC": 9, "AA": 4, "IV": 3, "DE": 2, "KR": 2, "WG": -2, "IG": -4,
                        "CW": -2, "FY": 3, "PP": 7, "HH": 8, "ST": 1, "AG": 0}.items():  # fmt: skip
        assert scoring.scores[index[pair[0]], index[pair[1]]] == score
        assert scoring.scores[index[pair[1]], index[pair[0]]] == score


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("WWWW", "WWWW", (44, 4, 4)),
        ("GGWWWWGG", "PWWWWP", (44, 4, 4)),                  # only the part that is alike
        ("WWWWKWWWW", "WWWWRWWWW", (90, 8, 9)),              # K-R scores 2
        ("WWWWWWGGGWWWWWW", "WWWWWWWWWWWW", (118, 12, 15)),  # a gap of 3 costs 11 + 3
        ("WWWWWWWWWWWW", "WWWWWWGGGWWWWWW", (118, 12, 15)),
        ("WWXWW", "WWXWW", (43, 4, 5)),                      # unknown letters never match
        ("GGGG", "WWWW", (0, 0, 0)),
        ("", "WWWW", (0, 0, 0)),
    ],
)  # fmt: skip
def test_alignments_that_can_be_done_by_hand(first, second, expected):
    assert align_two(first, second, score_proteins()) == expected


def test_bases_are_scored_as_blastn_does():
    assert align_two("GATTACA", "GATTACA", score_nucleic_acids()) == (14, 7, 7)
    assert align_two("GATTACAGATTACA", "GATTACACATTACA", score_nucleic_acids()) == (23, 13, 14)
    assert align_two("GATTACAGATTACA", "GATTACAATTACA", score_nucleic_acids()) == (19, 13, 14)


def align_plainly(first, second, scoring) -> int:
    """Score of the best local alignment, from the definition: any gap, of any length, anywhere."""
    scores = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
    for i, a in enumerate(scoring.encode(first), 1):
        for j, b in enumerate(scoring.encode(second), 1):
            down = max(
                scores[i - k, j] - scoring.gap_open - k * scoring.gap_extend
                for k in range(1, i + 1)
            )
            along = max(
                scores[i, j - k] - scoring.gap_open - k * scoring.gap_extend
                for k in range(1, j + 1)
            )
            scores[i, j] = max(0, scores[i - 1, j - 1] + scoring.scores[a, b], down, along)
    return scores.max()


@pytest.mark.parametrize("letters", [AMINO_ACIDS, BASES])
def test_scores_are_those_of_the_definition(letters):
    scoring = score_proteins() if letters == AMINO_ACIDS else score_nucleic_acids()
    rng = np.random.default_rng(1)
    sequences = []
    for length in (40, 25, 33):
        base = rng.choice(list(letters), length).tolist()
        # A relative with substitutions, a deletion and an insertion, so that gaps matter.
        other = [rng.choice(list(letters)) if rng.random() < 0.2 else a for a in base]
        del other[10:13]
        other[20:20] = rng.choice(list(letters), 2).tolist()
        sequences += ["".join(base), "".join(other)]
    pairs = align_pairs(sequences, scoring)
    assert len(pairs) == 15
    for pair in pairs.itertuples():
        expected = align_plainly(sequences[pair.first], sequences[pair.second], scoring)
        assert pair.score == expected
        assert 0 <= pair.num_matches <= pair.num_columns


@pytest.mark.parametrize("length", [1, 300, 511, 512, 700, 3000])
def test_sequences_of_any_length_are_aligned_with_themselves(length):
    """The closed form: all letters match, in integers of 32 bits and of 64."""
    rng = np.random.default_rng(length)
    scoring = score_proteins()
    sequence = "".join(rng.choice(list(AMINO_ACIDS), length))
    scores = [scoring.scores[code, code] for code in scoring.encode(sequence)]
    score, half = sum(scores), length // 2
    assert align_two(sequence, sequence, scoring) == (score, length, length)
    # One deletion of 5 letters in the middle.
    if length >= 300:
        shorter = sequence[:half] + sequence[half + 5 :]
        expected = score - sum(scores[half : half + 5]) - 11 - 5
        assert align_two(sequence, shorter, scoring) == (expected, length - 5, length)


def test_neither_the_batch_nor_the_threads_matter(monkeypatch):
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 60, size=60)
    sequences = ["".join(rng.choice(list(AMINO_ACIDS), length)) for length in lengths]
    together = align_pairs(sequences, score_proteins()).set_index(["first", "second"])
    assert len(together) == 60 * 59 // 2
    for first, second in [(0, 1), (3, 59), (17, 42)]:
        alone = align_two(sequences[first], sequences[second], score_proteins())
        assert tuple(together.loc[(first, second)]) == alone
    monkeypatch.setattr(alignment, "BATCH_LETTERS", 200)
    threads = align_pairs(sequences, score_proteins(), num_threads=3)
    pd.testing.assert_frame_equal(threads.set_index(["first", "second"]), together)


def test_a_sequence_too_long_to_count_is_refused():
    with pytest.raises(ValueError, match=r"^a sequence has 65536 letters, the most is 65535$"):
        align_pairs(["A" * 65536, "A"], score_proteins())
