import pytest

from atompaint_vae.records.find import (
    UnknownRunError,
    find_experiments,
    find_expts_dir,
    find_runs,
    get_date,
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
    ],
)
def test_names_that_mean_nothing(expts, name, message):
    with pytest.raises(UnknownRunError) as info:
        find_runs(expts, [name])
    assert str(info.value).startswith(message)


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
