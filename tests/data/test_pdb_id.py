import pytest

from atompaint_vae.data import PDB_ID


@pytest.mark.parametrize(
    "text", ["1ema", "4W4G", "9zzz", "pdb_00001ema", "PDB_00001EMA", "pdb_1000abcd"]
)
def test_ids_of_either_length_and_case_are_known(text):
    assert PDB_ID.fullmatch(text)


@pytest.mark.parametrize(
    "text", ["", "ema", "abcd", "0abc", "1emab", "1em-", "pdb_1ema", "pdb_000001ema", "00001ema"]
)
def test_other_words_are_no_ids(text):
    assert not PDB_ID.fullmatch(text)
