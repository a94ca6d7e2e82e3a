"""Sequences -> the best local alignment of every pair, exactly, in numpy.

A query is aligned with a batch of shorter sequences at once, one diagonal (i + j = d) of all their
matrices after the other, since the cells of such a diagonal don't depend on each other.

Letters of the shapes: T sequences of one batch, W letters of the longest.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Int64
from tqdm import tqdm

AMINO_ACIDS = "ARNDCQEGHILKMFPSTWYV"
BASES = "ACGT"

MAX_LENGTH = 65_535
BATCH_LETTERS = 1 << 14  # of the targets; more would not fit into a processor's cache


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
    num_threads: int = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Find the best local alignment of every pair of sequences.

    If several have the best score, the one with the most matches is returned, and among those the
    longest. 240 proteins take about 5 s.

    pairs:   align only these
    returns: first, second [indices, first < second], score, num_matches, num_columns (with gaps)
    raises:  ValueError if a sequence is longer than 65,535 letters
    source:  Smith & Waterman 1981; Gotoh 1982 (affine gaps)
    """
    for sequence in sequences:
        if len(sequence) > MAX_LENGTH:
            raise ValueError(f"a sequence has {len(sequence)} letters, the most is {MAX_LENGTH}")
    if pairs is None:
        pairs = np.stack(np.triu_indices(len(sequences), 1), axis=1)
    order = np.array(sorted(range(len(sequences)), key=lambda i: (len(sequences[i]), i)), dtype=int)
    codes = [scoring.encode(sequences[i]) for i in order]
    batches = _make_batches(np.argsort(order)[pairs], [len(code) for code in codes])

    def align(batch: tuple) -> np.ndarray:
        query, targets = batch
        found = _align_locally(codes[query], [codes[target] for target in targets], scoring)
        ends = np.sort([np.full(len(targets), order[query]), order[targets]], axis=0)
        return np.concatenate([ends, found])

    rows = [np.empty((5, 0), dtype=np.int64)]
    with (
        tqdm(total=len(pairs), desc="align", unit="pair", disable=not progress) as bar,
        ThreadPoolExecutor(num_threads) as executor,
    ):
        for found in executor.map(align, batches):
            rows.append(found)
            bar.update(found.shape[1])
    names = ["first", "second", "score", "num_matches", "num_columns"]
    aligned = pd.DataFrame(np.concatenate(rows, axis=1).T, columns=names)
    return aligned.sort_values(["first", "second"], ignore_index=True)


def _make_batches(pairs: np.ndarray, lengths: list[int]) -> list[tuple[int, np.ndarray]]:
    """Return each longer sequence of the pairs with batches of shorter ones, of similar length.

    lengths: sorted
    """
    pairs = np.sort(pairs, axis=1)
    pairs = pairs[np.lexsort((-pairs[:, 0], pairs[:, 1]))]
    queries, starts = np.unique(pairs[:, 1], return_index=True)
    batches = []
    for query, start, stop in zip(queries, starts, [*starts[1:], len(pairs)], strict=False):
        while start < stop:
            num = max(1, BATCH_LETTERS // max(1, lengths[pairs[start, 0]]))
            batches.append((int(query), pairs[start : min(start + num, stop), 0]))
            start += num
    return batches


def _pad_scores(scores, unknown: int) -> np.ndarray:
    padded = np.full((len(scores) + 2, len(scores) + 2), unknown)
    padded[:-2, :-2] = scores
    padded[-1, :] = padded[:, -1] = -(1 << 20)  # worse than any score gains: ends an alignment
    return padded


@dataclass(frozen=True)
class _Fields:
    """Bits of one integer that hold columns, matches and score, from low to high.

    One maximum finds the best score, among equal scores the most matches, and among those the
    longest alignment. Integers of 32 bits are enough for most proteins, and take half the time.
    """

    column_bits: int
    match_bits: int
    max_score: int
    dtype: type

    @classmethod
    def fit(cls, query: np.ndarray, targets: list[np.ndarray], scoring: Scoring) -> _Fields:
        """Return fields for alignments of a query with the targets, none of which is longer."""
        width = max(map(len, targets))
        most = [int(scoring.scores[code, code].clip(0).sum()) for code in (query, *targets)]
        max_score = min(most[0], max(most[1:]))
        columns, matches = (len(query) + width).bit_length(), width.bit_length()
        # The penalty of a gap as long as both is added on the way.
        most = max_score + scoring.gap_extend * (len(query) + width)
        is_short = columns + matches + most.bit_length() < 32
        return cls(columns, matches, max_score, np.int32 if is_short else np.int64)

    @property
    def match(self) -> int:
        return 1 << self.column_bits

    @property
    def score(self) -> int:
        return 1 << (self.column_bits + self.match_bits)

    def split(self, values: np.ndarray) -> np.ndarray:
        """Return score, matches and columns, [3, T]."""
        values = values.astype(np.int64)
        return np.stack([
            values // self.score, values % self.score // self.match, values % self.match
        ])  # fmt: skip


def _make_profile(targets: list[np.ndarray], scoring: Scoring, fields: _Fields) -> np.ndarray:
    """Return what a column adds, [(A + 2) W, T], for each letter and letter of the targets."""
    letters = np.full((max(map(len, targets)), len(targets)), len(scoring.scores) - 1)
    for place, code in enumerate(targets):
        letters[: len(code), place] = code
    # Padding is worse than any score gains, so that it ends an alignment.
    scores = scoring.scores.clip(-1 - fields.max_score).astype(fields.dtype) * fields.score + 1
    np.einsum("aa->a", scores)[: len(scoring.letters)] += fields.match
    return scores.take(letters, axis=1).reshape(-1, len(targets))


def _align_locally(
    query: np.ndarray, targets: list[np.ndarray], scoring: Scoring
) -> Int64[np.ndarray, "3 T"]:
    """Return score, matches and columns of a query's best alignment with each target.

    targets: none longer than the query
    """
    fields = _Fields.fit(query, targets, scoring)
    profile = _make_profile(targets, scoring, fields)
    dtype, length, width = fields.dtype, len(query), len(profile) // len(scoring.scores)
    gap_open, gap_extend = scoring.gap_open * fields.score, scoring.gap_extend * fields.score - 1

    def make(value: int) -> np.ndarray:
        # The row before the first is that of alignments that begin with the target.
        return np.full((width + 1, len(targets)), value, dtype)

    impossible = np.iinfo(dtype).min // 2
    # Cell (i, j) of letters i of the query and j of the targets is in row j + 1. The values of
    # alignments that end there are needed for two more diagonals, of those in a gap for one. In
    # gaps, (i + j) · gap_extend is added to them, so that going on with a gap changes nothing.
    ends, gaps_along = [make(0) for _ in range(3)], [make(impossible) for _ in range(2)]
    gaps_down, opened, best = make(impossible), make(impossible), make(0)
    is_positive, in_gap = make(0).astype(bool), make(0)
    letter_rows, places = query[::-1] * width, np.arange(width)
    last = slice(1, 1)
    for diagonal in range(length + width - 1):
        first = max(0, diagonal - length + 1)
        stop = min(width, diagonal + 1)
        own, before = slice(first + 1, stop + 1), slice(first, stop)
        end, end_1, end_2 = (ends[(diagonal - k) % 3] for k in range(3))
        along, along_1 = (gaps_along[(diagonal - k) % 2] for k in range(2))
        np.add(end_1[last], dtype((diagonal - 1) * gap_extend - gap_open), out=opened[last])
        along = np.maximum(along_1[before], opened[before], out=along[own])
        down = np.maximum(gaps_down[own], opened[own], out=gaps_down[own])
        gap = np.maximum(along, down, out=in_gap[own])
        gap -= dtype(diagonal * gap_extend)
        shift = length - 1 - diagonal
        rows = letter_rows[shift + first : shift + stop] + places[before]
        value = profile.take(rows, axis=0, out=end[own], mode="clip")
        value += end_2[before]
        np.maximum(value, gap, out=value)
        # Without a positive score, an alignment starts anew. A product is several times faster than
        # an assignment where a condition holds, which no processor can predict.
        value *= np.greater_equal(value, dtype(fields.score), out=is_positive[own])
        np.maximum(best[own], value, out=best[own])
        last = own
    return fields.split(best.max(axis=0))
