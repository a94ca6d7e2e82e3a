import shutil
from pathlib import Path

import pytest

from atompaint_vae.slurm.settings import (
    SlurmSettings,
    SlurmSettingsError,
    load_slurm_settings,
)

TEMPLATES = sorted((Path(__file__).parents[2] / "docs/guide/slurm").glob("*.nt"))


def test_the_nearest_file_above_is_read(tmp_path):
    folder = tmp_path / "notebook/expts/20240101_x"
    folder.mkdir(parents=True)
    assert load_slurm_settings(folder) == SlurmSettings()
    (tmp_path / "slurm.nt").write_text("notice_s: 60\n")
    (tmp_path / "notebook/slurm.nt").write_text(
        "sbatch:\n  partition: gpu\n  exclusive:\narray_limit: 8\nsetup:\n"
        "  > module load cuda\n  > ulimit -n 4096\n"
    )
    settings = load_slurm_settings(folder)
    assert settings.sbatch == {"partition": "gpu", "exclusive": ""}
    assert (settings.array_limit, settings.notice_s) == (8, 120)
    assert settings.setup == "module load cuda\nulimit -n 4096"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sbatch:\n  time: 1:00\narray-limit: 8\n",
         "3:1: key 'array-limit' is unknown; did you mean 'array_limit'?"),
        ("array_limit: 0\n", "1:14: array_limit: expected an integer >= 1 or nothing, got '0'"),
        ("notice_s: 2 min\n", "1:11: notice_s: expected an integer >= 1, got '2 min'"),
        ("sbatch: -p gpu\n", "1:9: sbatch: expected keys, got '-p gpu'"),
        ("sbatch:\n  array: 0-3\n", "2:3: sbatch.array: train.py sets this one itself"),
        ("sbatch:\n  --time: 1:00\n",
         "2:3: sbatch.--time: expected an option's long name, without '--'"),
        ("sbatch:\n  p: gpu\n", "2:3: sbatch.p: expected an option's long name, without '--'"),
        ("sbatch:\n  comment:\n    > a\n    > b\n", "2:3: sbatch.comment: expected one line"),
        ("sbatch\n", "1:1: unrecognized line; expected 'key: value' or '- item', with a space "
                     "after ':' or '-'"),
    ],
)  # fmt: skip
def test_mistakes_are_named_where_they_are(tmp_path, text, message):
    path = tmp_path / "slurm.nt"
    path.write_text(text)
    with pytest.raises(SlurmSettingsError) as error:
        load_slurm_settings(tmp_path)
    assert str(error.value) == f"{path}:{message}"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_templates_can_be_used(tmp_path, template):
    shutil.copy(template, tmp_path / "slurm.nt")
    settings = load_slurm_settings(tmp_path)
    assert {"time", "cpus-per-task"} <= set(settings.sbatch)


def test_there_are_templates():
    assert len(TEMPLATES) == 4
