"""Chains -> clusters and groups of similar sequence -> splits that share none of them.

Two protein chains are alike if the best local alignment (BLOSUM62, gaps 11 + k) of their observed
residues has, with identity being matches / columns, gaps included,

- an identity of at least 30 % over 80 columns or more. Shorter alignments need more, since they
  reach more by chance: 290.15 n^-0.562 + 5 % for n columns, which is 30 % at 80, 48 % at 30 and
  100 % at 7.
  source: Sander & Schneider 1991 (the threshold for similar structures, + 5 %)
- or an expectation value (E-value) of at most 0.1 among all pairs with the set's chains, whatever
  the identity. This also keeps remote relatives below 30 % together, such as the globins.
  source: Altschul & Gish 1996 (λ = 0.267, K = 0.041 for these scores)

No coverage is required: one shared domain is enough, and so is a peptide that is a part of another
chain. Chains of fewer than 7 known residues are not compared, not even if they are the same: the
threshold reaches 100 % there, and shorter words occur by chance. A given word of 6 residues is
expected once in 64 million, of 7 once in 1.3 billion; a set of 5,000 chains has about a million.

Two nucleic-acid chains are alike if at least 80 % of the shorter one's bases are in the alignment
(2 / -3, gaps 5 + 2 k; U is read as T) and 80 % of its columns are matches. Chains of fewer than 12
known bases are not compared: such words occur in the ribosome by chance. Complements are not
compared, since a duplex contains both of its strands.

Chains that can't be aligned, since they are neither protein nor nucleic acid or too few of their
letters are known, are alike if they have the same residues, by name and in order: at least 20, of
more than one name.

Entries whose chains are alike, directly or through others, form one group, and a group is never
divided between splits. This criterion is strict enough to join a few entries by chance. Clusters,
which are for people to read, join only chains that are homologous beyond doubt (E-value at most
0.001). A cluster is always part of one group.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from atompaint_vae.data.sets.alignment import (
    AMINO_ACIDS,
    BASES,
    align_pairs,
    score_nucleic_acids,
    score_proteins,
)
from atompaint_vae.data.sets.candidates import find_candidates, find_method

SPLIT_FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
LETTERS = {"protein": AMINO_ACIDS, "nucleic": BASES + "U"}
KINDS = tuple(LETTERS)

MIN_IDENTITY = 0.30
MIN_IDENTITY_COLUMNS = 80
MAX_EXPECTATION = 0.1
MAX_RELATIVE_EXPECTATION = 1e-3
LAMBDA, K = 0.267, 0.041

MIN_NUCLEIC_IDENTITY = 0.80
MIN_NUCLEIC_COVERAGE = 0.80

# For a chain to be compared: letters that are known, or residues by name.
MIN_LETTERS = {"protein": 7, "nucleic": 12}
MIN_NAMES = 20

# A larger family would let one fold decide the score of validation or test.
MAX_GROUP_FRACTION = 0.3


class Leakage(NamedTuple):
    """The greatest similarity between chains of different splits."""

    num_pairs: int  # pairs of sequences in different splits that are alike; 0 if there is no leak
    max_identity: float  # matches / columns, over alignments of at least 80 columns
    max_shared: float  # matches / residues of the shorter chain, for chains of at least 30
    worst_pair: tuple[str, str]  # the chains of max_identity, as structure_chain


def calc_min_identity(num_columns) -> np.ndarray:
    """Return the identity at which an alignment of so many columns makes two proteins alike."""
    num_columns = np.maximum(np.asarray(num_columns, dtype=float), 1)
    curve = (290.15 * num_columns**-0.562 + 5) / 100
    return np.where(num_columns >= MIN_IDENTITY_COLUMNS, MIN_IDENTITY, curve.clip(MIN_IDENTITY, 1))


def compare_sequences(
    sequences: list[str],
    kind: str,
    *,
    method: str = "exact",
    num_threads: int = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Align pairs of sequences, and decide which are alike.

    kind:    'protein' or 'nucleic'
    method:  'exact' for every pair; or how to find those that may be alike, see `candidates`
    returns: the columns of `align_pairs`, identity [fraction], is_alike, is_related [in one
             cluster], shorter [residues of the shorter one] and shared [fraction of those that
             match]
    raises:  ValueError for an unknown kind or method
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of chain {kind!r}; expected one of {', '.join(KINDS)}")
    is_protein = kind == "protein"
    if not is_protein:
        sequences = [sequence.replace("U", "T") for sequence in sequences]
    scoring = score_proteins() if is_protein else score_nucleic_acids()
    listed = None if method == "exact" else find_candidates(sequences, kind, method)
    pairs = align_pairs(
        sequences, scoring, pairs=listed, num_threads=num_threads, progress=progress
    )
    lengths = np.array([len(sequence) for sequence in sequences])
    first, second = lengths[pairs["first"]], lengths[pairs["second"]]
    shorter = np.minimum(first, second)
    pairs["identity"] = pairs.num_matches / np.maximum(pairs.num_columns, 1)
    if is_protein:
        expectation = K * first * second * len(sequences) * np.exp(-LAMBDA * pairs.score)
        is_enough = pairs.num_columns >= MIN_LETTERS["protein"]
        is_alike = pairs.identity >= calc_min_identity(pairs.num_columns)
        is_alike = (is_alike | (expectation <= MAX_EXPECTATION)) & is_enough
        is_related = (expectation <= MAX_RELATIVE_EXPECTATION) & is_enough
    else:
        is_alike = (
            (pairs.identity >= MIN_NUCLEIC_IDENTITY)
            & (pairs.num_columns >= MIN_NUCLEIC_COVERAGE * shorter)
            & (shorter >= MIN_LETTERS["nucleic"])
        )
        is_related = is_alike
    pairs["is_alike"] = is_alike
    pairs["is_related"] = is_related
    pairs["shared"] = pairs.num_matches / np.maximum(shorter, 1)
    pairs["shorter"] = shorter
    return pairs


def find_texts(chains: pd.DataFrame) -> pd.DataFrame:
    """Find what each chain is compared by.

    chains:  columns structure, chain, kind, sequence, names; those of whole structures
    returns: alphabet ('protein' or 'nucleic' for the sequence, 'names', '' for a chain that isn't
             compared) and text, with the index of `chains`
    """
    names = chains["names"].str.split()
    # The ligands of a polymer aren't one.
    is_whole = chains.kind.isin(KINDS) | ~_find_polymers(chains)
    is_named = (names.str.len() >= MIN_NAMES) & (names.map(set).str.len() > 1) & is_whole
    texts = pd.DataFrame({"alphabet": "", "text": chains["names"]})
    texts.loc[is_named, "alphabet"] = "names"
    for kind, letters in LETTERS.items():
        num_known = chains.sequence.str.count(f"[{letters}]")
        is_aligned = (chains.kind == kind) & (num_known >= MIN_LETTERS[kind])
        texts.loc[is_aligned, "alphabet"] = kind
        texts.loc[is_aligned, "text"] = chains.sequence[is_aligned]
    return texts


def find_unknown_chains(chains: pd.DataFrame) -> list[str]:
    """Return the names of large chains that are neither protein nor nucleic acid.

    chains: columns structure, chain, kind, num_residues, num_atoms; those of whole structures
    """
    is_large = chains.num_residues >= MIN_NAMES
    is_ions = chains.num_atoms == chains.num_residues
    return _name_chains(chains[is_large & ~is_ions & ~_find_polymers(chains)]).tolist()


def find_methods(chains: pd.DataFrame) -> dict[str, str]:
    """Choose how `compare_chains` finds pairs of each kind: 'exact' unless chains are many."""
    num_texts = find_texts(chains).groupby("alphabet").text.nunique()
    return {kind: find_method(int(num_texts.get(kind, 0)), kind) for kind in KINDS}


def compare_chains(
    chains: pd.DataFrame,
    *,
    methods: dict[str, str] | None = None,
    num_threads: int = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Align pairs of different sequences of the same kind.

    chains:  as for `find_texts`
    methods: for each kind, as `find_methods` returns, which is called if this is None
    returns: kind, first_sequence, second_sequence [category] and the columns of `compare_sequences`
    """
    methods = find_methods(chains) if methods is None else methods
    texts = find_texts(chains)
    # Millions of pairs would hold as many copies of the sequences.
    category = pd.CategoricalDtype(texts.text[texts.alphabet.isin(KINDS)].unique())
    tables = []
    for kind in KINDS:
        sequences = sorted(texts.text[texts.alphabet == kind].unique())
        pairs = compare_sequences(
            sequences, kind, method=methods[kind], num_threads=num_threads, progress=progress
        )
        codes = category.categories.get_indexer(sequences)
        pairs.insert(0, "kind", kind)
        for end in ("first", "second"):
            pairs[f"{end}_sequence"] = pd.Categorical.from_codes(codes[pairs[end]], dtype=category)
        tables.append(pairs)
    return pd.concat(tables, ignore_index=True)


def cluster_chains(chains: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Return the name of each chain's cluster: its longest chain, as structure_chain.

    Of chains that are not compared, the same ones of a structure are one cluster.

    chains:  as for `find_texts`
    pairs:   of these chains, as `compare_chains`
    returns: str, with the index of `chains`; '' for chains that are not polymers
    """
    names = pd.Series("", index=chains.index, dtype=object)
    polymers = chains[chains.kind.isin(KINDS)]
    labels = _label_chains(chains, pairs[pairs.is_related])[polymers.index]
    longest = polymers.assign(
        label=labels, length=polymers.sequence.str.len(), name=_name_chains(polymers)
    ).sort_values(["length", "name"], ascending=[False, True])
    names[polymers.index] = labels.map(longest.groupby("label").name.first())
    return names.astype(str)


def group_structures(chains: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Return the name of each structure's group: its structure with the most atoms.

    chains:  as for `find_texts`, and num_atoms
    pairs:   of these chains, as `compare_chains`
    returns: str, indexed by structure in the order of `chains`
    """
    owner = chains.structure.astype(str)
    num_atoms = chains.num_atoms.groupby(owner, sort=False).sum()
    structures = pd.Series(range(len(num_atoms)), index=num_atoms.index)
    labels = _label_chains(chains, pairs[pairs.is_alike])
    # The nodes of one graph: the structures, followed by the chains' labels.
    size = len(structures) + len(labels)
    owners = owner.map(structures)
    connected = _label_components(size, owners, labels + len(structures))
    groups = pd.Series(connected[: len(structures)], index=structures.index)
    by_size = num_atoms.sort_values(ascending=False, kind="stable").index
    largest = pd.Series(by_size, index=groups[by_size].to_numpy())
    return groups.map(largest[~largest.index.duplicated()]).rename("group")


def assign_splits(chains: pd.DataFrame, fractions: dict[str, float] = SPLIT_FRACTIONS) -> pd.Series:
    """Return the split of each structure, which depends on nothing but the chains.

    The group with the most atoms goes to the first split. The groups with nucleic acid, starting
    with the most of it, go to each split in turn, from the last to the first, so that each has
    some. All others, starting with the largest, go to the split that is furthest from its share of
    the atoms, relative to that share. A group larger than 0.3 of a later split's share goes to the
    first split instead, unless half of the groups are as large.

    chains:    columns structure, kind, group, num_atoms
    fractions: of all atoms, the largest split first
    returns:   str, indexed by structure in the order of `chains`
    raises:    ValueError if there are fewer groups than splits
    """
    group_of = chains.group.groupby(chains.structure.astype(str), sort=False).first()
    is_nucleic = chains.kind == "nucleic"
    groups = pd.DataFrame({
        "num_atoms": chains.num_atoms.groupby(chains.group).sum(),
        "num_nucleic": chains.num_atoms.where(is_nucleic, 0).groupby(chains.group).sum(),
    })  # fmt: skip
    if len(groups) < len(fractions):
        raise ValueError(
            f"{len(group_of)} structures make {len(groups)} groups of unlike sequence, "
            f"too few for {len(fractions)} splits"
        )
    names, total, median = list(fractions), groups.num_atoms.sum(), groups.num_atoms.median()
    atoms = dict.fromkeys(names, 0)
    split_of_group = {}

    def assign(group: str, name: str) -> None:
        most = max(MAX_GROUP_FRACTION * fractions[name] * total, median)
        name = names[0] if groups.num_atoms[group] > most else name
        split_of_group[group] = name
        atoms[name] += groups.num_atoms[group]

    # Groups are sorted by name, so that ties don't depend on the order of the structures.
    by_size = groups.sort_values("num_atoms", ascending=False, kind="stable")
    assign(by_size.index[0], names[0])
    rest = by_size.iloc[1:]
    nucleic = rest[rest.num_nucleic > 0].sort_values("num_nucleic", ascending=False, kind="stable")
    for turn, group in enumerate(nucleic.index):
        assign(group, names[::-1][turn % len(names)])
    for group in rest.index.difference(nucleic.index, sort=False):
        assign(group, min(names, key=lambda name: atoms[name] / fractions[name]))
    return group_of.map(split_of_group).rename("split")


def measure_leakage(chains: pd.DataFrame, pairs: pd.DataFrame | None = None) -> Leakage:
    """Return the greatest similarity between chains of different splits, of all kinds together.

    chains: as for `find_texts`, and split
    pairs:  of these chains, as `compare_chains`, which is called if this is None
    """
    pairs = compare_chains(chains) if pairs is None else pairs
    texts = find_texts(chains).assign(split=chains.split, name=_name_chains(chains))
    texts = texts[texts.alphabet != ""].groupby(["alphabet", "text"])
    splits, names = texts.split.agg(set), texts.name.first()
    across = pairs[_find_across(pairs, splits)]
    num_equal = int((splits.map(len) > 1).sum())
    long = across[(across.num_columns >= MIN_IDENTITY_COLUMNS) & (across.kind == "protein")]
    whole = across[(across.shorter >= 30) & (across.kind == "protein")]
    worst = ("", "")
    if len(long):
        pair = long.loc[long.identity.idxmax()]
        worst = (names[pair.kind, pair.first_sequence], names[pair.kind, pair.second_sequence])
    return Leakage(
        int(across.is_alike.sum()) + num_equal,
        float(max(long.identity.max() if len(long) else 0, num_equal > 0)),
        float(max(whole.shared.max() if len(whole) else 0, num_equal > 0)),
        worst,
    )


def _find_across(pairs: pd.DataFrame, splits: pd.Series) -> np.ndarray:
    """Mark [N] pairs whose sequences are in more than one split.

    splits: a set for each alphabet and text
    """
    bits = {split: 1 << place for place, split in enumerate(sorted(set().union(*splits)))}
    numbers = splits.map(lambda own: sum(bits[split] for split in own))
    is_across = np.zeros(len(pairs), dtype=bool)
    for kind, own in pairs.groupby("kind"):
        of_kind = numbers[kind].reindex(own.first_sequence.cat.categories, fill_value=0).to_numpy()
        both = of_kind[own.first_sequence.cat.codes] | of_kind[own.second_sequence.cat.codes]
        is_across[own.index] = both & (both - 1) != 0
    return is_across


def _find_polymers(chains: pd.DataFrame) -> pd.Series:
    """Mark [N] chains that are polymers, with their ligands."""
    is_polymer = chains.kind.isin(KINDS)
    return is_polymer.groupby([chains.structure, chains.chain], observed=True).transform("any")


def _label_chains(chains: pd.DataFrame, links: pd.DataFrame) -> pd.Series:
    """Return the number of each chain's connected component, with the index of `chains`."""
    texts = find_texts(chains)
    # The same text is one node; for chains that aren't compared, only within a structure.
    keys = texts.assign(owner=chains.structure.astype(str).where(texts.alphabet == "", ""))
    keys = pd.MultiIndex.from_frame(keys)
    unique = keys.unique()
    ends = (
        unique.get_indexer(pd.MultiIndex.from_frame(links[["kind", name]].assign(owner="")))
        for name in ("first_sequence", "second_sequence")
    )
    labels = _label_components(len(unique), *ends)
    return pd.Series(labels[unique.get_indexer(keys)], index=chains.index)


def _label_components(size: int, first, second) -> np.ndarray:
    """Return the number [size] of the connected component of each node of a graph."""
    edges = np.asarray(first), np.asarray(second)
    graph = coo_array((np.ones(len(edges[0]), dtype=bool), edges), shape=(size, size))
    return connected_components(graph, directed=False)[1]


def _name_chains(chains: pd.DataFrame) -> pd.Series:
    return chains.structure.astype(str) + "_" + chains.chain.astype(str)
