import pytest

from atompaint_vae.records.find import (
    UnknownRunError,
    find_experiment,
    find_experiments,
    find_expts_dir,
    find_own_experiment,
    find_runs,
    get_date,
    locate_experiment,
    locate_runs,
)


@pytest.fixture(scope="module")
def expts(write_run, tmp_path_factory):
    expts = tmp_path_factory.mktemp("notebook") / "expts"
    for name in ["run_10", "run_9", "run_9b"]:
        write_run(expts / "20250101_wide", name)
    write_run(expts / "20250102_deep", "a")
    write_run(expts / "20250102_deep" / "20250103_nested", "a")
    write_run(expts / "20250104_x", "a")
    write_run(expts / "20250104_y", "a")
    (expts / "20250105_planned").mkdir()
    (expts / "20250105_planned/hparams.nt").write_text("runs:\n")
    (expts / "20250101_wide/runs/begun").mkdir()  # without a record
    return expts


def test_experiments_lie_at_any_depth(expts):
    assert find_experiments(expts) == [
        "20250101_wide", "20250102_deep", "20250102_deep/20250103_nested", "20250104_x",
        "20250104_y", "20250105_planned",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "names, expected",
    [
        (["20250101"], "20250101_wide/run_9 20250101_wide/run_9b 20250101_wide/run_10"),
        (["20250101/run_10"], "20250101_wide/run_10"),
        (["20250102_deep"], "20250102_deep/a"),
        (["20250103"], "20250102_deep/20250103_nested/a"),
        (["20250103_nested/a"], "20250102_deep/20250103_nested/a"),
        (["20250102_deep/20250103_nested"], "20250102_deep/20250103_nested/a"),
        (["20250104_y", "20250104_x", "20250104_y/a"], "20250104_y/a 20250104_x/a"),
        (["20250105"], ""),
        (["deep"], "20250102_deep/a"),
        (["nested/a"], "20250102_deep/20250103_nested/a"),
    ],
)
def test_names_of_experiments_and_runs(expts, names, expected):
    found = find_runs(expts, names)
    assert list(found) == expected.split()
    assert all(paths.record.is_file() for paths in found.values())


def test_without_a_name_all_are_found(expts):
    assert len(find_runs(expts)) == 7


@pytest.mark.parametrize(
    "name, message",
    [
        ("20250104", "'20250104' may be 20250104_x or 20250104_y; give the whole name"),
        ("20250101_wid", "unknown experiment '20250101_wid'; did you mean '20250101_wide'?"),
        ("run_9b", "unknown experiment 'run_9b'; write experiment/run, for example 20250101_wide/"),
        ("zzz", "unknown experiment 'zzz'; known: 20250101_wide, 20250102_deep, "),
        ("20250101/run_11", "unknown run 'run_11' of 20250101_wide; did you mean 'run_10'?"),
        ("20250101/zzz", "unknown run 'zzz' of 20250101_wide; known: run_9, run_9b, run_10"),
        ("20250105/a", "unknown run 'a' of 20250105_planned; known: none"),
        ("7", "unknown experiment '7'; known: 20250101_wide, "),
    ],
)
def test_names_that_mean_nothing(expts, name, message):
    with pytest.raises(UnknownRunError) as info:
        find_runs(expts, [name])
    assert str(info.value).startswith(message)


def test_runs_of_ones_own_experiment_need_no_prefix(expts):
    own = "20250102_deep/20250103_nested"
    assert list(find_runs(expts, ["a", "20250101/run_9"], own=own)) == [
        f"{own}/a", "20250101_wide/run_9"
    ]  # fmt: skip
    # A folder or date comes first, then the own run, then the rest of a folder's name.
    assert list(find_runs(expts, ["20250104_x"], own=own)) == ["20250104_x/a"]
    assert list(find_runs(expts, ["y"], own=own)) == ["20250104_y/a"]
    with pytest.raises(UnknownRunError, match="unknown experiment 'run_9b'; write experiment/run"):
        find_runs(expts, ["run_9b"], own=own)


def test_one_experiment(expts, tmp_path, write_run):
    for name in ("20250101", "20250101_wide", "wide", "expts/20250101_wide/"):
        assert find_experiment(expts, name) == expts / "20250101_wide"
    with pytest.raises(UnknownRunError, match="'20250101/run_9' is a run; expected an experiment, "
                       "such as 20250101_wide"):  # fmt: skip
        find_experiment(expts, "20250101/run_9")
    write_run(tmp_path / "03_salt", "a")
    write_run(tmp_path / "buffer", "a")
    (tmp_path / "buffer/.expt").mkdir()
    (tmp_path / "buffer/.expt/id").write_text("12\n")
    for name, folder in (("3", "03_salt"), ("03", "03_salt"), ("12", "buffer")):
        assert find_experiment(tmp_path, name) == tmp_path / folder


def test_the_experiment_that_a_path_lies_in():
    known = ["20250102_deep", "20250102_deep/20250103_nested", "20250104_x"]
    assert find_own_experiment(known, "20250102_deep/20250103_nested/runs/a") == known[1]
    assert find_own_experiment(known, "20250102_deep/other") == known[0]
    assert find_own_experiment(known, "20250102_deeper") is None


def test_arguments_are_names_or_paths(expts, monkeypatch):
    monkeypatch.chdir(expts / "20250101_wide")
    assert list(locate_runs(["run_9", "../20250102_deep/runs/a/"])) == [
        "20250101_wide/run_9", "20250102_deep/a"
    ]  # fmt: skip
    for name in (".", "../20250101_wide", "wide"):
        assert locate_experiment(name) == expts / "20250101_wide"
    assert locate_experiment("../20250105_planned").samefile(expts / "20250105_planned")
    monkeypatch.chdir(expts.parent)
    assert list(locate_runs(["expts/20250104_x/"])) == ["20250104_x/a"]


def test_the_notebook_is_found_from_inside(expts, tmp_path):
    assert find_expts_dir(expts / "20250101_wide") == expts
    with pytest.raises(UnknownRunError, match="no folder 'expts' here or above"):
        find_expts_dir(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "conf.py").touch()
    assert find_expts_dir(tmp_path / "other") == tmp_path


def test_date_of_an_experiment():
    assert get_date("20250102_deep/nested") == "20250102"
    assert get_date("deep") is None
