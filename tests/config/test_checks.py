import re
from pathlib import Path

import nestedtext as nt
import pytest

from atompaint_vae.config.checks import check_experiment, group_warnings
from atompaint_vae.config.hparams import HparamsError
from atompaint_vae.data.sets.sources import find_atoms_path, load_split
from atompaint_vae.text.located import Place, Problem

CASES = nt.load(Path(__file__).parent / "checks_errors.nt")


@pytest.fixture
def hparams_nt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A set that has one structure, for training.
    atoms = load_split("starter", "train")
    first = atoms["structure"].iloc[0]
    table = find_atoms_path("starter").with_name("structures.csv").read_text().splitlines()
    columns = table[0].split(",")
    values = {"pdb_id": first, "split": "train"}
    row = ",".join(values.get(column, "") for column in columns)
    Path("few.structures.csv").write_text(f"{table[0]}\n{row}\n")
    Path("few.parquet").write_bytes(find_atoms_path("starter").read_bytes())
    return Path("hparams.nt")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_check_experiment(case, hparams_nt):
    hparams_nt.write_text(case["file"])
    if "error" in case:
        with pytest.raises(HparamsError) as error:
            check_experiment(hparams_nt)
        found = re.sub(r"none of \d+ atoms", "none of ... atoms", str(error.value))
        found = re.sub(r"take at least .*; this machine has .*", "take at least ...; this machine "
                       "has ...", found)
        assert found == case["error"]
    else:
        assert check_experiment(hparams_nt).warnings == case["warning"].splitlines()


def test_experiments_of_this_repository_can_be_trained():
    for path in sorted((Path(__file__).parents[2] / "expts").glob("*/hparams.nt")):
        checked = check_experiment(path)
        assert checked.runs
        assert checked.warnings == []


def test_a_warning_of_several_runs_is_one_line():
    path, other = Path("hparams.nt"), Path("base.nt")
    places = [Place(path, 12, 5), Place(path, 9, 5), Place(other, 3, 1), Place(path, 12, 5)]
    warnings = [Problem(place, "warning: too short") for place in places[:2] + places[3:]]
    warnings.append(Problem(places[0], "warning: too long"))
    assert group_warnings(warnings) == [
        "hparams.nt:9:5: warning: too short (also at line 12)",
        "hparams.nt:12:5: warning: too long",
    ]
    assert group_warnings([Problem(x, "same") for x in places]) == [
        "base.nt:3:1: same (also at hparams.nt:9:5, hparams.nt:12:5)"
    ]
    assert group_warnings([]) == []
