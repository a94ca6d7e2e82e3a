"""Sequences -> the pairs worth aligning, for sets where all pairs would take too long.

`find_method` chooses the method:

exact    every pair; up to MAX_EXACT sequences of a kind
mmseqs2  pairs that MMseqs2, if it is installed, finds at its highest sensitivity
k-mers   proteins: at least three common triplets of residues near one diagonal; nucleic acids: at
         least a twentieth of the shorter one's hexamers in common

`align_pairs` then aligns every candidate, so "alike" means the same for each method; but pairs that
a method misses stay unknown. Of the 308 alike pairs among the 232 proteins of the starter set,
k-mers find 270 (246 of 262 related ones) while aligning a third of all pairs, MMseqs2 finds 276
(260) while aligning a fiftieth.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from atompaint_vae.data.sets.alignment import AMINO_ACIDS, BASES

METHODS = ("exact", "mmseqs2", "k-mers")
MAX_EXACT = 400  # about 20 s

PROTEIN_K, NUCLEIC_K = 3, 6
MIN_TRIPLETS = 3
DIAGONAL_WIDTH = 16
MIN_SHARED_HEXAMERS = 0.05

# E-values up to 10: MMseqs2's may be higher than those of the aligner, which are limited to 0.1.
MMSEQS_OPTIONS = (
    "-s", "7.5", "-e", "10", "--max-seqs", "100000", "--format-output", "query,target",
)  # fmt: skip


def find_method(num_sequences: int, kind: str) -> str:
    """Choose a method for so many different sequences of a kind: 'exact', 'mmseqs2' or 'k-mers'."""
    if num_sequences <= MAX_EXACT:
        return "exact"
    # MMseqs2 doesn't find nucleic acids as short as those that matter here.
    return "mmseqs2" if kind == "protein" and shutil.which("mmseqs") else "k-mers"


def find_candidates(sequences: list[str], kind: str, method: str) -> Int64[np.ndarray, "pairs 2"]:
    """Return the indices of the pairs that may be alike, sorted, each once, smaller index first.

    raises: ValueError for an unknown method, or if MMseqs2 fails
    """
    if method == "exact":
        return np.stack(np.triu_indices(len(sequences), 1), axis=1)
    if method == "mmseqs2":
        pairs = _search_with_mmseqs(sequences)
    elif method == "k-mers":
        pairs = _search_triplets(sequences) if kind == "protein" else _search_hexamers(sequences)
    else:
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(METHODS)}")
    pairs = np.sort(np.asarray(pairs, dtype=np.int64).reshape(-1, 2), axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    # As one number each, which sorts much faster than rows.
    numbers = np.unique(pairs[:, 0] * len(sequences) + pairs[:, 1])
    return np.stack(np.divmod(numbers, max(len(sequences), 1)), axis=1)


def _search_with_mmseqs(sequences: list[str]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as scratch:
        fasta, found = Path(scratch) / "chains.fasta", Path(scratch) / "found.tsv"
        fasta.write_text("".join(f">{i}\n{text}\n" for i, text in enumerate(sequences)))
        command = ["mmseqs", "easy-search", fasta, fasta, found, Path(scratch) / "mmseqs"]
        ran = subprocess.run(
            [*map(str, command), *MMSEQS_OPTIONS], capture_output=True, text=True, check=False
        )
        if ran.returncode:
            lines = (ran.stderr or ran.stdout).split("\n")
            reason = next((line for line in reversed(lines) if line.strip()), "no message")
            raise ValueError(f"mmseqs failed: {reason.strip()}")
        return np.loadtxt(found, dtype=np.int64, ndmin=2)


def _search_triplets(sequences: list[str]) -> np.ndarray:
    words = [_encode_words(text, AMINO_ACIDS, PROTEIN_K) for text in sequences]
    index, longest = _Index(words), max(map(len, words))
    # Each bin of diagonals overlaps the next by half, so that close diagonals always share a bin.
    half = DIAGONAL_WIDTH // 2
    num_bins = 2 * longest // half + 3
    pairs = []
    for query, own in enumerate(words):
        place, targets, target_place = index.find(own, query)
        bins = (place - target_place + longest) // half
        keys = targets * num_bins + bins
        unique, counts = np.unique(np.concatenate([keys, keys + 1]), return_counts=True)
        found = np.unique(unique[counts >= MIN_TRIPLETS] // num_bins)
        pairs.append(np.stack([np.full_like(found, query), found], axis=1))
    return np.concatenate(pairs)


def _search_hexamers(sequences: list[str]) -> np.ndarray:
    words = [np.unique(_encode_words(s.replace("U", "T"), BASES, NUCLEIC_K)) for s in sequences]
    index, sizes = _Index(words), np.array([len(own) for own in words])
    pairs = []
    for query, own in enumerate(words):
        _, targets, _ = index.find(own, query)
        found, counts = np.unique(targets, return_counts=True)
        found = found[counts >= MIN_SHARED_HEXAMERS * np.minimum(sizes[found], len(own))]
        pairs.append(np.stack([np.full_like(found, query), found], axis=1))
    return np.concatenate(pairs)


class _Index:
    """An index of where each word occurs in all sequences."""

    def __init__(self, words: list[np.ndarray]):
        everything = np.concatenate(words)
        order = np.argsort(everything, kind="stable")
        self._words = everything[order]
        self._sequences = np.repeat(np.arange(len(words)), [len(own) for own in words])[order]
        self._places = np.concatenate([np.arange(len(own)) for own in words])[order]

    def find(self, words: np.ndarray, after: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the places of words in the query, the sequences that contain them, and the places
        there; only for sequences after a given one."""
        known = np.flatnonzero(words >= 0)
        starts = self._words.searchsorted(words[known], side="left")
        lengths = self._words.searchsorted(words[known], side="right") - starts
        before = lengths.cumsum() - lengths
        rows = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
        places = np.repeat(known, lengths)
        is_after = self._sequences[rows] > after
        rows = rows[is_after]
        return places[is_after], self._sequences[rows], self._places[rows]


def _encode_words(sequence: str, letters: str, k: int) -> np.ndarray:
    """Return the number of the word of k letters at each place; -1 if a letter is unknown."""
    lookup = np.full(256, -1, dtype=np.int64)
    lookup[np.frombuffer(letters.encode(), np.uint8)] = np.arange(len(letters))
    codes = lookup[np.frombuffer(sequence.encode("latin-1", "replace"), np.uint8)]
    num_words = max(0, len(codes) - k + 1)
    words, is_known = np.zeros(num_words, dtype=np.int64), np.ones(num_words, dtype=bool)
    for offset in range(k):
        own = codes[offset : offset + num_words]
        words = words * len(letters) + own
        is_known &= own >= 0
    return np.where(is_known, words, -1)
