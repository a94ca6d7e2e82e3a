"""Sequences -> the best local alignment of every pair, exactly, in numpy.

Letters of the shapes: T sequences of one batch, W letters of the longest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Int64
from tqdm import tqdm

AMINO_ACIDS = "ARNDCQEGHILKMFPSTWYV"
BASES = "ACGT"

# Score, matches and columns of an alignment are bit fields of one integer, from high to low. One
# maximum finds the best score, among equal scores the most matches, and among those the longest.
SCORE = 1 << 32
MATCH = 1 << 16
COLUMN = 1
MAX_LENGTH = MATCH - 1
IMPOSSIBLE = -(1 << 60)

BATCH_SEQUENCES = 24  # of similar length; with more, most of a batch would be padding


@dataclass(frozen=True, eq=False)
class Scoring:
    """Scores of an alphabet of A letters; a gap of k letters costs gap_open + k · gap_extend.

    scores:  int [A + 2, A + 2]; the last row and column are for padding, those before for unknown
             letters
    """

    letters: str
    scores: np.ndarray
    gap_open: int
    gap_extend: int

    def encode(self, sequence: str) -> np.ndarray:
        """Return the numbers [N] of the letters; unknown letters share one, and never match."""
        index = {letter: i for i, letter in enumerate(self.letters)}
        return np.array([index.get(letter, len(index)) for letter in sequence], dtype=np.intp)


@cache
def score_proteins() -> Scoring:
    """Return BLOSUM62 with gaps of 11 + k, the default of BLAST.

    source: Henikoff & Henikoff 1992
    """
    blosum62 = gemmi.AlignmentScoring("b")
    names = [gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA) for letter in AMINO_ACIDS]
    scores = [
        [gemmi.align_string_sequences([a], [b], [], blosum62).score for b in names] for a in names
    ]
    return Scoring(AMINO_ACIDS, _pad_scores(scores, unknown=-1), gap_open=11, gap_extend=1)


@cache
def score_nucleic_acids() -> Scoring:
    """Return 2 for equal bases, -3 for others, gaps of 5 + 2 k: the default of blastn."""
    scores = np.where(np.eye(len(BASES), dtype=bool), 2, -3)
    return Scoring(BASES, _pad_scores(scores, unknown=-3), gap_open=5, gap_extend=2)


def align_pairs(
    sequences: list[str],
    scoring: Scoring,
    *,
    pairs: Int64[np.ndarray, "pairs 2"] | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Find the best local alignment of every pair of sequences.

    If several have the best score, the one with the most matches is returned. 240 proteins take
    about 20 s.

    pairs:   align only these
    returns: first, second [indices, first < second], score, num_matches, num_columns (with gaps)
    raises:  ValueError if a sequence is longer than 65,535 letters
    source:  Smith & Waterman 1981; Gotoh 1982 (affine gaps)
    """
    for sequence in sequences:
        if len(sequence) > MAX_LENGTH:
            raise ValueError(f"a sequence has {len(sequence)} letters, the most is {MAX_LENGTH}")
    order = sorted(range(len(sequences)), key=lambda i: (len(sequences[i]), i))
    codes = [scoring.encode(sequences[i]) for i in order]
    names = ["first", "second", "score", "num_matches", "num_columns"]
    if pairs is not None:
        tables = _align_listed(codes, order, pairs, scoring, progress)
        aligned = pd.DataFrame(tables, columns=names, dtype=np.int64)
        return aligned.sort_values(["first", "second"], ignore_index=True)
    tables = []
    batches = range(0, len(order), BATCH_SEQUENCES)
    for start in tqdm(batches, desc="align", unit="batch", disable=not progress):
        batch = codes[start : start + BATCH_SEQUENCES]
        profile = _make_profile(batch, scoring)
        for query in range(start, len(order)):
            score, matches, columns = _align_locally(codes[query], profile, scoring)
            for row in range(min(query - start, len(batch))):
                pair = sorted((order[query], order[start + row]))
                tables.append((*pair, score[row], matches[row], columns[row]))
    aligned = pd.DataFrame(tables, columns=names, dtype=np.int64)
    return aligned.sort_values(["first", "second"], ignore_index=True)


def _align_listed(
    codes: list[np.ndarray], order: list[int], pairs: np.ndarray, scoring: Scoring, progress: bool
) -> list[tuple]:
    """Return the rows of `align_pairs` for some pairs; codes are sorted by length."""
    place = np.argsort(order)
    # Pairs are grouped by their longer sequence, and sorted by the length of the shorter one.
    listed = np.sort(place[pairs], axis=1)
    listed = listed[np.lexsort((listed[:, 0], listed[:, 1]))]
    queries, starts = np.unique(listed[:, 1], return_index=True)
    groups = np.split(listed[:, 0], starts[1:]) if len(queries) else []
    rows = []
    with tqdm(total=len(listed), desc="align", unit="pair", disable=not progress) as bar:
        for query, targets in zip(queries, groups, strict=True):
            for start in range(0, len(targets), BATCH_SEQUENCES):
                batch = targets[start : start + BATCH_SEQUENCES]
                profile = _make_profile([codes[target] for target in batch], scoring)
                results = _align_locally(codes[query], profile, scoring)
                for target, *result in zip(batch, *results, strict=True):
                    rows.append((*sorted((order[query], order[target])), *result))
                bar.update(len(batch))
    return rows


def _pad_scores(scores, unknown: int) -> np.ndarray:
    padded = np.full((len(scores) + 2, len(scores) + 2), unknown)
    padded[:-2, :-2] = scores
    padded[-1, :] = padded[:, -1] = -(1 << 20)  # worse than any score gains: ends an alignment
    return padded


def _make_profile(batch: list[np.ndarray], scoring: Scoring) -> np.ndarray:
    """Return bit fields [A + 2, T, W] of a column, for each letter and letter of the targets."""
    targets = np.full((len(batch), max(map(len, batch))), len(scoring.scores) - 1)
    for row, code in enumerate(batch):
        targets[row, : len(code)] = code
    letters = np.arange(len(scoring.scores))[:, None, None]
    is_match = (letters == targets) & (letters < len(scoring.letters))
    return scoring.scores[:, targets] * SCORE + is_match * MATCH + COLUMN


def _align_locally(query: np.ndarray, profile: np.ndarray, scoring: Scoring):
    """Return score, matches and columns, [T] each, of a query's best alignment with each target."""
    _, num_targets, width = profile.shape
    gap_open, gap_extend = scoring.gap_open * SCORE, scoring.gap_extend * SCORE - COLUMN
    ramp = np.arange(width) * gap_extend
    # One row [T, W] per letter of the query; alignments may begin in the added column of zeros.
    ends = np.zeros((num_targets, width + 1), dtype=np.int64)
    gaps_down = np.full((num_targets, width), IMPOSSIBLE)
    best = np.zeros((num_targets, width), dtype=np.int64)
    for letter in query:
        np.maximum(gaps_down, ends[:, 1:] - gap_open, out=gaps_down)
        gaps_down -= gap_extend
        row = np.maximum(ends[:, :-1] + profile[letter], gaps_down)
        # The best gap along the target, from any column to the left, is a running maximum.
        gaps_along = np.maximum.accumulate(row + ramp, axis=1)
        np.maximum(row[:, 1:], gaps_along[:, :-1] - (ramp[1:] + gap_open), out=row[:, 1:])
        row *= row >= SCORE  # without a positive score, an alignment starts anew
        ends[:, 1:] = row
        np.maximum(best, row, out=best)
    best = best.max(axis=1)
    return best // SCORE, best // MATCH % MATCH, best % MATCH
