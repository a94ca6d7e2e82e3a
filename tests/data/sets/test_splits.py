"""Clusters and splits: of sequences whose likeness is known, and of the bundled structures."""

import difflib

import gemmi
import numpy as np
import pandas as pd
import pytest

from atompaint_vae.data.sets.splits import (
    assign_splits,
    calc_min_identity,
    cluster_chains,
    compare_chains,
    compare_sequences,
    group_structures,
    measure_leakage,
)
from atompaint_vae.data.sets.starter import STARTER_DIR, load_sources
from atompaint_vae.data.structures.chains import list_chains
from atompaint_vae.data.structures.table import load_atoms

AMINO_ACIDS = list("ACDEFGHIKLMNPQRSTVWY")


def make_sequence(rng, length: int) -> str:
    return "".join(rng.choice(AMINO_ACIDS, length))


def mutate(rng, sequence: str, identity: float) -> str:
    """The sequence with exactly that part of its letters left as they are."""
    letters = list(sequence)
    changed = rng.permutation(len(letters))[: round((1 - identity) * len(letters))]
    for place in changed:
        letters[place] = rng.choice([letter for letter in AMINO_ACIDS if letter != letters[place]])
    return "".join(letters)


def make_chains(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    """Chains of residues that are called as their letters; of ligands, if there are none."""
    chains = pd.DataFrame(rows, columns=["structure", "chain", "kind", "sequence"])
    names = chains.sequence.map(" ".join).replace("", "LIG")
    return chains.assign(num_atoms=chains.sequence.str.len() * 8, names=names)


def is_alike(first: str, second: str, kind: str = "protein") -> bool:
    return bool(compare_sequences([first, second], kind).is_alike.item())


def test_the_required_identity_is_thirty_percent_from_eighty_columns():
    assert calc_min_identity([80, 200, 5000]).tolist() == [0.3, 0.3, 0.3]
    # Read off Sander & Schneider's curve, + 5 %.
    np.testing.assert_allclose(calc_min_identity([10, 30, 50]), [0.845, 0.479, 0.372], atol=2e-3)
    assert calc_min_identity([0, 1, 7]).tolist() == [1, 1, 1]


def test_relatives_are_alike_and_strangers_are_not():
    rng = np.random.default_rng(1)
    for length in (60, 150, 400):
        sequence = make_sequence(rng, length)
        assert is_alike(sequence, mutate(rng, sequence, 0.5))
        assert not is_alike(sequence, make_sequence(rng, length))


def test_a_domain_or_a_peptide_in_common_is_enough():
    rng = np.random.default_rng(2)
    domain = make_sequence(rng, 100)
    first = make_sequence(rng, 300) + domain
    second = mutate(rng, domain, 0.6) + make_sequence(rng, 200)
    assert is_alike(first, second)
    peptide = first[50:59]
    assert is_alike(first, peptide)
    assert not is_alike(first, make_sequence(rng, 9))
    assert not is_alike(first, first[50:56])  # 6 residues say nothing


def test_remote_relatives_are_alike_at_any_identity():
    rng = np.random.default_rng(8)
    # Nothing but conservative substitutions, as between proteins of one fold and far-off species.
    sequence = "".join(rng.choice(list("IVKRDEFY"), 120))
    (pair,) = compare_sequences(
        [sequence, sequence.translate(str.maketrans("IVKRDEFY", "VIRKEDYF"))], "protein"
    ).itertuples()
    assert pair.identity < 0.05
    assert pair.is_alike
    assert pair.is_related


def test_nucleic_acids_are_alike_only_if_nearly_whole_and_nearly_equal():
    rng = np.random.default_rng(3)
    strand = "".join(rng.choice(list("ACGT"), 40))
    assert is_alike("TTGTTTCTTTATTTGTTTTC", "UUGUUUCUUUAUUUGUUUUC", "nucleic")
    assert is_alike(strand, strand[3:38], "nucleic")
    assert not is_alike(strand, strand[:20] + "".join(rng.choice(list("ACGT"), 20)), "nucleic")
    assert not is_alike(strand, "".join(rng.choice(list("ACGT"), 40)), "nucleic")
    assert not is_alike(strand, strand[:11], "nucleic")  # too short
    with pytest.raises(ValueError, match=r"unknown kind of chain 'rna'; expected one of prot"):
        compare_sequences([strand], "rna")


def test_chains_cluster_and_structures_group_transitively():
    rng = np.random.default_rng(7)  # of 300 pairs of strangers, one is alike by chance
    ancestor, stranger = make_sequence(rng, 200), make_sequence(rng, 150)
    cousin = mutate(rng, ancestor, 0.55)
    duplex = "GATTACAGATTACAGG"
    chains = make_chains(
        ("1AAA", "A", "protein", ancestor),
        ("1AAA", "B", "protein", stranger),
        ("1AAA", "B", "other", ""),
        ("2BBB", "X", "protein", cousin),
        ("3CCC", "A", "protein", stranger[:100]),
        ("3CCC", "N", "nucleic", duplex),
        ("4DDD", "N", "nucleic", duplex[:-1]),
        ("5EEE", "A", "protein", make_sequence(rng, 250)),
        ("6FFF", "A", "protein", "GGG"),
        ("7GGG", "A", "protein", "GGG"),
        ("8HHH", "L", "other", ""),
    )
    pairs = compare_chains(chains)
    assert cluster_chains(chains, pairs).tolist() == [
        "1AAA_A", "1AAA_B", "", "1AAA_A", "1AAA_B", "3CCC_N", "3CCC_N", "5EEE_A", "6FFF_A",
        "7GGG_A", "",
    ]  # fmt: skip
    assert group_structures(chains, pairs).to_dict() == {
        "1AAA": "1AAA", "2BBB": "1AAA", "3CCC": "1AAA", "4DDD": "1AAA", "5EEE": "5EEE",
        "6FFF": "6FFF", "7GGG": "7GGG", "8HHH": "8HHH",
    }  # fmt: skip


def test_structures_are_grouped_by_likeness_and_chains_clustered_by_kinship():
    rng = np.random.default_rng(9)
    protein = make_sequence(rng, 300)
    chains = make_chains(
        ("1AAA", "A", "protein", protein), ("2BBB", "P", "protein", protein[100:107])
    )
    pairs = compare_chains(chains)
    # Seven equal residues are all that is asked for, but no proof of a common ancestor.
    assert pairs.is_alike.item()
    assert not pairs.is_related.item()
    assert group_structures(chains, pairs).tolist() == ["1AAA", "1AAA"]
    assert cluster_chains(chains, pairs).tolist() == ["1AAA_A", "2BBB_P"]


PEPTIDES = {"protein": "GHKLMNP", "nucleic": "GATTACAGATTA"}


@pytest.mark.parametrize(("kind", "peptide"), PEPTIDES.items())
def test_structures_do_not_hang_together_by_chains_too_short_to_compare(kind, peptide):
    rng = np.random.default_rng(4)
    proteins = {name: make_sequence(rng, 80) for name in ("1AAA", "2BBB", "3CCC", "4DDD", "5EEE")}
    for sequence, num_groups in [
        (peptide, 1), (peptide[:-1], 5), (peptide[:-1] + "XXXX", 5), (peptide[:1], 5)
    ]:  # fmt: skip
        chains = make_chains(*[
            row for name, protein in proteins.items()
            for row in [(name, "A", "protein", protein), (name, "B", kind, sequence),
                        (name, "C", kind, sequence)]
        ])  # fmt: skip
        pairs = compare_chains(chains)
        assert group_structures(chains, pairs).nunique() == num_groups, sequence
        clusters = cluster_chains(chains, pairs).groupby(chains.structure)
        # Within a structure, chains are known to be the same at any length.
        assert clusters.nunique().tolist() == 5 * [2]
        names = ["train", "train", "validation", "test", "train"]
        apart = chains.assign(split=np.repeat(names, 3))
        assert measure_leakage(apart, pairs).num_pairs == (num_groups == 1)


def test_chains_that_cannot_be_aligned_are_compared_by_names():
    names = " ".join(f"Z{i % 5}" for i in range(20))
    other = names.replace("Z0 Z1", "Z1 Z0")

    def find_groups(*rows, kind="other"):
        chains = pd.DataFrame(
            [(f"{i}", "A", kind, own) for i, own in enumerate(rows)],
            columns=["structure", "chain", "kind", "names"],
        )
        sequence = ["" if kind == "other" else "X" * len(own.split()) for own in rows]
        chains = chains.assign(sequence=sequence, num_atoms=10)
        pairs = compare_chains(chains)
        leakage = measure_leakage(chains.assign(split=chains.structure), pairs)
        return group_structures(chains, pairs).nunique(), leakage.num_pairs

    for kind in ("other", "protein", "nucleic"):
        assert find_groups(names, names, other, kind=kind) == (2, 1)
        # 19 residues, and a membrane of one lipid.
        assert find_groups(names[3:], names[3:], kind=kind) == (2, 0)
        assert find_groups("POPC " * 50, "POPC " * 50, kind=kind) == (2, 0)


def test_ligands_of_a_polymer_are_no_chain():
    rng = np.random.default_rng(4)
    ligands = " ".join(["MG", "GOL"] * 15)
    chains = pd.concat([
        make_chains((name, "A", "protein", make_sequence(rng, 80)), (name, "A", "other", ""))
        .assign(names=lambda table: table.names.replace("LIG", ligands))
        for name in ("1AAA", "2BBB")
    ], ignore_index=True)  # fmt: skip
    assert group_structures(chains, compare_chains(chains)).nunique() == 2


@pytest.mark.parametrize("num_proteins", [0, 1])
def test_a_set_without_two_comparable_chains_has_no_leak(num_proteins):
    rng = np.random.default_rng(5)
    chains = make_chains(
        ("1AAA", "A", "other", ""), ("2BBB", "A", "other", ""),
        ("3CCC", "A", "protein", make_sequence(rng, 80)), ("4DDD", "A", "nucleic", 8 * "ACG"),
    ).iloc[: 2 + 2 * num_proteins]  # fmt: skip
    pairs = compare_chains(chains)
    assert len(pairs) == 0
    assert group_structures(chains, pairs).nunique() == len(chains)
    assert measure_leakage(chains.assign(split=chains.structure), pairs) == (0, 0, 0, ("", ""))


def make_groups(sizes: dict[str, int], nucleic: tuple[str, ...] = ()) -> pd.DataFrame:
    rows = []
    for name, num_atoms in sizes.items():
        rows.append((name, "protein", name[:2], num_atoms))
        if name in nucleic:
            rows.append((name, "nucleic", name[:2], 10))
    return pd.DataFrame(rows, columns=["structure", "kind", "group", "num_atoms"])


def test_splits_keep_groups_whole_and_have_their_shares():
    sizes = {f"{i:02d}{copy}": 100 + 7 * i for i in range(60) for copy in "ab"}
    chains = make_groups(sizes, nucleic=("05a", "17b", "44a", "59a"))
    found = assign_splits(chains)
    assert found.index.tolist() == list(sizes)
    groups = pd.Series(found.index.str[:2], index=found.index)
    assert found.groupby(groups).nunique().max() == 1
    shares = pd.Series(sizes).groupby(found).sum() / sum(sizes.values())
    np.testing.assert_allclose(shares[["train", "validation", "test"]], [0.8, 0.1, 0.1], atol=0.01)
    # 59 is the largest; the others hold as much nucleic acid, so the largest is first.
    assert found[["59a", "44a", "17b", "05a"]].tolist() == [
        "train", "test", "validation", "train",
    ]  # fmt: skip
    shuffled = assign_splits(chains.sample(frac=1, random_state=1))
    assert shuffled[found.index].equals(found)


def test_a_large_family_is_kept_out_of_small_splits():
    sizes = {"00": 10_000, "01": 800, **{f"{i:02d}": 50 for i in range(2, 60)}}
    assert assign_splits(make_groups(sizes))[["00", "01"]].tolist() == ["train", "train"]


@pytest.mark.parametrize("sizes", [(5, 5, 5), (9, 5, 1), (100, 90, 80, 1), (7,) * 12])
def test_no_split_is_empty_if_there_are_three_groups(sizes):
    groups = make_groups({f"{i:02d}": size for i, size in enumerate(sizes)})
    found = assign_splits(groups)
    assert set(found) == {"train", "validation", "test"}
    # Even groups of the same size do not depend on the order that they come in.
    assert assign_splits(groups[::-1])[found.index].equals(found)


def test_too_few_groups_are_refused():
    problem = "2 structures make 2 groups of unlike sequence, too few for 3 splits"
    with pytest.raises(ValueError, match=problem):
        assign_splits(make_groups({"00": 9, "01": 9}))


def test_leakage_is_found():
    rng = np.random.default_rng(5)
    sequence = make_sequence(rng, 200)
    chains = make_chains(
        ("1AAA", "A", "protein", sequence),
        ("2BBB", "B", "protein", mutate(rng, sequence, 0.8)),
        ("3CCC", "C", "protein", make_sequence(rng, 200)),
    )
    assert measure_leakage(chains.assign(split="train")).num_pairs == 0
    leakage = measure_leakage(chains.assign(split=["train", "test", "train"]))
    assert leakage.num_pairs == 1
    assert leakage.max_identity == pytest.approx(0.8, abs=0.01)
    assert leakage.max_shared == pytest.approx(0.8, abs=0.01)
    assert set(leakage.worst_pair) == {"1AAA_A", "2BBB_B"}
    sound = measure_leakage(chains.assign(split=["train", "train", "test"]))
    assert sound.num_pairs == 0
    assert sound.max_identity < 0.3
    # The very same sequence in two splits is one pair with itself.
    chains.loc[1, "sequence"] = sequence
    equal = measure_leakage(chains.assign(split=["train", "test", "train"]))
    assert (equal.num_pairs, equal.max_identity, equal.max_shared) == (1, 1, 1)


# The bundled structures.


@pytest.fixture(scope="module")
def chains():
    """The committed table, with the sequences of the committed atoms."""
    table = pd.read_csv(STARTER_DIR / "chains.csv", dtype={"chain": str}, keep_default_na=False)
    observed = list_chains(load_atoms(STARTER_DIR / "atoms.parquet"))
    columns = ["structure", "chain", "kind", "num_residues", "num_atoms"]
    assert (table[columns].astype(str) == observed[columns].astype(str)).all(axis=None)
    return table.assign(sequence=observed.sequence, names=observed.names)


@pytest.fixture(scope="module")
def proteins_across(chains):
    """Pairs of different proteins of at least 20 residues that are in different splits."""
    proteins = chains[(chains.kind == "protein") & (chains.num_residues >= 20)]
    proteins = list(proteins.drop_duplicates(["sequence", "split"]).itertuples())
    return [
        (a, b) for i, a in enumerate(proteins) for b in proteins[:i] if a.split != b.split
    ]


def test_known_families_are_in_one_split(chains):
    split = chains.groupby("structure").split.first()
    assert chains.groupby("structure").split.nunique().max() == 1
    for family in [
        ["1GBT", "1K1I", "2BM2", "4ZHL"],                # trypsins and their like
        ["1HVR", "1QBS", "4E43"],                        # HIV proteases
        ["3O21", "3HSY", "3P3W", "6FLR"],                # AMPA receptors' N-terminal domains
        ["3KPR", "3PWP", "1BD2"],                        # T-cell receptors with MHC
        ["1IA1", "1S3V"],                                # dihydrofolate reductases
        ["1AFS", "1US0"],                                # aldo-keto reductases
        ["2GTL", "1G9V"],                                # haemoglobins, remote ones
    ]:  # fmt: skip
        assert split[family].nunique() == 1, family
        first = chains[chains.structure.isin(family)]
        assert first.group.nunique() == 1, family


def test_clusters_are_within_groups_and_groups_within_splits(chains):
    polymers = chains[chains.cluster != ""]
    assert set(polymers.kind) == {"protein", "nucleic"}
    assert polymers.groupby("cluster").group.nunique().max() == 1
    assert chains.groupby("group").split.nunique().max() == 1
    long = chains[chains.sequence.str.len() >= 7]
    assert long.groupby(["kind", "sequence"]).split.nunique().max() == 1
    # The committed splits are those that the groups give, structures.csv included.
    found = assign_splits(chains)
    structures = pd.read_csv(STARTER_DIR / "structures.csv", keep_default_na=False)
    assert found.to_dict() == dict(zip(structures.pdb_id, structures.split, strict=True))


def test_each_split_holds_enough(chains):
    by_split = chains.groupby("split")
    shares = by_split.num_atoms.sum() / chains.num_atoms.sum()
    np.testing.assert_allclose(shares[["train", "validation", "test"]], [0.8, 0.1, 0.1], atol=0.01)
    large = chains.groupby(["split", "structure"]).num_atoms.sum() > 1000
    assert large.groupby("split").sum().min() >= 6
    nucleic_atoms = chains[chains.kind == "nucleic"].groupby("split").num_atoms.sum()
    assert nucleic_atoms.min() > 400
    assert set(nucleic_atoms.index) == {"train", "validation", "test"}
    assert chains.split[chains.structure == "6ZU5"].unique().tolist() == ["train"]
    assert chains.structure.nunique() == len(load_sources())


def test_proteins_of_different_splits_share_few_words(chains, proteins_across):
    """No alignment at all: words of 4 residues, of which relatives share a third or more."""

    def share_words(a: str, b: str) -> float:
        words_a, words_b = ({s[i : i + 4] for i in range(len(s) - 3)} for s in (a, b))
        return len(words_a & words_b) / min(len(words_a), len(words_b))

    assert max(share_words(a.sequence, b.sequence) for a, b in proteins_across) < 0.1
    trypsins = chains[chains.structure.isin(["1GBT", "1K1I"])].query("kind == 'protein'").sequence
    assert share_words(trypsins.iloc[0], trypsins.iloc[-1]) > 0.3


def test_proteins_of_different_splits_have_no_long_run_in_common(proteins_across):
    """The longest equal run of residues, found by difflib; pairs drawn at random."""
    rng = np.random.default_rng(6)
    for index in rng.choice(len(proteins_across), 150, replace=False):
        a, b = (chain.sequence for chain in proteins_across[index])
        run = difflib.SequenceMatcher(None, a, b, autojunk=False).find_longest_match().size
        assert run < 10


def test_proteins_of_different_splits_are_unlike_from_end_to_end(proteins_across):
    """gemmi's global alignment of all pairs of similar length: matches / the shorter's residues."""
    scoring = gemmi.AlignmentScoring("b")
    worst, num_pairs = 0, 0
    for chain, other in proteins_across:
        a, b = (
            [gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA) or "UNK" for letter in sequence]
            for sequence in sorted((chain.sequence, other.sequence), key=len)
        )
        if len(a) < 0.8 * len(b):
            continue
        matches = gemmi.align_string_sequences(a, b, [], scoring).match_count
        worst, num_pairs = max(worst, matches / len(a)), num_pairs + 1
    assert num_pairs > 1000
    assert worst < 0.3


@pytest.mark.slow
def test_the_committed_clusters_are_those_of_the_sequences(chains):
    pairs = compare_chains(chains)
    assert cluster_chains(chains, pairs).tolist() == chains.cluster.tolist()
    group = group_structures(chains, pairs)
    assert chains.structure.map(group).tolist() == chains.group.tolist()
    leakage = measure_leakage(chains, pairs)
    assert leakage.num_pairs == 0
    assert leakage.max_identity < 0.3
