"""The guide's code does what the guide says."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from atompaint_vae.config.checks import check_experiment
from atompaint_vae.text.located import list_problems
from atompaint_vae.training.weights import check_inputs

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
PAGES = [path for path in sorted(GUIDE.glob("*.rst")) if "code-block:: python" in path.read_text()]

CODE_BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs_from_top_to_bottom(page):
    blocks = CODE_BLOCK.findall(page.read_text("utf-8"))
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(textwrap.dedent(block), str(page), "exec"), names)


def test_there_is_a_page_to_run():
    assert any(page.stem == "equivariant_network" for page in PAGES)


HPARAMS_BLOCK = re.compile(r"^\.\. code-block:: nestedtext\n\n((?:   .*\n|\n)+)", re.MULTILINE)
HPARAMS = [
    (page, block)
    for page in sorted(GUIDE.glob("*.rst"))
    for block in map(textwrap.dedent, HPARAMS_BLOCK.findall(page.read_text("utf-8")))
    if re.search(r"^(runs|search):$", block, re.MULTILINE) and block.startswith("shared:")
]


@pytest.mark.parametrize(("page", "block"), HPARAMS, ids=lambda x: getattr(x, "stem", ""))
def test_hyperparameters_of_a_page_are_right(page, block, tmp_path):
    path = tmp_path / "expts/20240101_x/hparams.nt"
    path.parent.mkdir(parents=True)
    path.write_text(block)
    checked = check_experiment(path)
    assert not checked.warnings
    assert not list_problems(check_inputs(checked, path.parent))


SHELL_BLOCK = re.compile(r"^\.\. code-block:: sh\n\n((?:   .*\n|\n)+)", re.MULTILINE)
MAKE = """\
#!/bin/sh
case $1 in
    check) exec atompaint-vae figures check ;;
    *) exec {python} -m sphinx -b html . _build/html -q -D include_patterns={pages} ;;
esac
"""
PAGES_BUILT = "docs/index.rst,expts/**/notes.rst,expts/**/sheet.rst"


@pytest.mark.slow
def test_commands_of_the_second_experiment_run_from_top_to_bottom(tmp_path):
    """As they stand on the page; only `make` installs nothing, and builds few pages."""
    blocks = SHELL_BLOCK.findall((GUIDE / "second_experiment.rst").read_text("utf-8"))
    assert len(blocks) > 5
    clone, programs = tmp_path / "clone", tmp_path / "bin"
    for name in ("conf.py", ".gitignore", "docs/index.rst"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    left_out = shutil.ignore_patterns("checkpoints", "tensorboard", "__pycache__", "sheet.rst")
    shutil.copytree(ROOT / "expts", clone / "expts", ignore=left_out)
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/activate").write_text("")
    programs.mkdir()
    command = f'#!/bin/sh\nexec {sys.executable} -m atompaint_vae.cli "$@"\n'
    for name, text in {
        "make": MAKE.format(python=sys.executable, pages=PAGES_BUILT),
        "atompaint-vae": command,
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    env = os.environ | {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT), "BROWSER": "true", "OMP_NUM_THREADS": "1",
        "GIT_AUTHOR_NAME": "me", "GIT_AUTHOR_EMAIL": "me",
        "GIT_COMMITTER_NAME": "me", "GIT_COMMITTER_EMAIL": "me",
    }  # fmt: skip
    script = "set -e\ngit init -q\n" + "".join(map(textwrap.dedent, blocks))
    result = subprocess.run(
        ["bash", "-c", script], cwd=clone, env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "beta-0.1: finished" in result.stdout
    assert "figures and tables are up to date" in result.stdout
    (page,) = clone.glob("_build/html/expts/*_smaller_beta/notes.html")
    html = page.read_text("utf-8")
    assert "_test_r2.csv" in html
    assert "_smaller_beta.svg" in html
    assert "Stale" not in html
    status = ["git", "status", "--porcelain"]
    assert subprocess.run(status, cwd=clone, capture_output=True, text=True).stdout == ""


def write_example_structure(path: Path):
    """A structure of the starter set with a residue A/123 in its middle."""
    import gemmi

    from atompaint_vae.data.sets.sources import load_split

    atoms = load_split("starter", "test")
    atoms = atoms[atoms["structure"] == atoms["structure"].value_counts().idxmax()]
    middle = (atoms[["x", "y", "z"]] - atoms[["x", "y", "z"]].mean()).pow(2).sum(axis=1).idxmin()
    chain = gemmi.Chain("A")
    shift = 123 - atoms.loc[middle, "residue_num"]
    of_chain = atoms[atoms["chain"] == atoms.loc[middle, "chain"]]
    for number, of_residue in of_chain.groupby("residue_num", sort=False):
        residue = gemmi.Residue()
        residue.name = of_residue["residue"].iloc[0]
        residue.seqid = gemmi.SeqId(int(number + shift), " ")
        for i, row in enumerate(of_residue.itertuples()):
            atom = gemmi.Atom()
            atom.name, atom.element = f"{row.element}{i}", gemmi.Element(row.element)
            atom.pos = gemmi.Position(row.x, row.y, row.z)
            residue.add_atom(atom)
        chain.add_residue(residue)
    structure = gemmi.Structure()
    structure.add_model(gemmi.Model(1))
    structure[0].add_chain(chain)
    structure.write_pdb(str(path))


def test_commands_of_diffusion_run_from_top_to_bottom(tmp_path):
    """As they stand on the page, with a model that is trained for seconds."""
    text = (GUIDE / "diffusion.rst").read_text("utf-8")
    (hparams,) = map(textwrap.dedent, HPARAMS_BLOCK.findall(text))
    blocks = SHELL_BLOCK.findall(text)
    assert len(blocks) == 4
    # Few steps, and settings of the sampler and the network that are quick.
    for old, new in {
        "epochs: 3": "epochs: 1", "steps_per_epoch: 500": "steps_per_epoch: 2",
        "precision: bf16-mixed": "num_val_crops: 2\n    num_test_crops: 2",
        "symmetry: none": "symmetry: none\n    sampler:\n      num_steps: 2",
        "40x0e": "8x0e", "56x0e": "8x0e",
    }.items():  # fmt: skip
        assert old in hparams
        hparams = hparams.replace(old, new)
    expt = tmp_path / "expts/20250302_first_samples"
    expt.mkdir(parents=True)
    (expt / "hparams.nt").write_text(hparams)
    shutil.copy(ROOT / "expts/20241001_quick_start/train.py", expt)
    write_example_structure(tmp_path / "1bhl.pdb")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "atompaint-vae").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m atompaint_vae.cli "$@"\n'
    )
    (programs / "atompaint-vae").chmod(0o755)
    env = os.environ | {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    train = "(cd expts/20250302_first_samples && ./train.py --device cpu)\n"
    script = f"set -e\n{train}" + "".join(map(textwrap.dedent, blocks))
    result = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "(4, 6, 21, 21, 21)" in result.stdout
    assert "reconstructed crops" in result.stdout
    assert (tmp_path / "samples/index.html").exists()
    assert (tmp_path / "painted/proposal-01.cif").exists()
