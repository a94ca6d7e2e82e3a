"""What the pages about this repository say is so; the limits that it set itself are kept."""

import ast
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import docopt
import pytest

import atompaint_vae
from atompaint_vae.records.find import REFERENCE

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "atompaint_vae"
PAGES = ["README.md", "CONTRIBUTING.md", "docs/guide/quick_start.rst", "docs/guide/index.rst"]

# The packages in the order of the data: each imports from itself and from those before it.
ORDER = (
    "text", "data", "nn", "analysis", "models", "config", "records", "slurm", "training",
    "search", "publishing", "figures", "notebook", "commands",
)  # fmt: skip
TORCH = {"torch", "e3nn", "lightning"}
NO_TORCH = {"text", "records", "slurm", "notebook"}
NO_COMMAND_LINE = {"data", "nn", "models", "analysis"}
PROGRAMS = {"data/sets/starter.py", "nn/optimise_grid.py"}
MAX_MODULES = 14
"""Directly in a folder: more than a newcomer takes in at a glance."""

# Written so that they don't match themselves.
MACHINE_PATH = re.compile(r"(?<![\w.<>-])/(?:work|home|root|Users|opt|mnt)/\w")
INDEX_HOST = re.compile(r"pypi[.]org|pythonhosted[.]|download[.]pytorch[.]|--(extra-)?index-url")


def list_modules() -> set[str]:
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }


def list_tracked() -> list[Path]:
    git = ["git", "-C", str(ROOT), "ls-files", "-z"]
    try:
        names = subprocess.run(git, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository")
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def list_commands(page: str) -> list[str]:
    """The lines of the indented blocks, and of what stands between backticks."""
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"^ {3,6}(\S.*)$", text, re.MULTILINE)
    return blocks + re.findall(r"(?<!`)`{1,2}([^`\n]+)`{1,2}(?!`)", text)


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = {
        target
        for line in re.findall(r"^([\w -]+):(?!=)", makefile, re.MULTILINE)
        for target in line.split()
    }
    named = [
        target
        for command in list_commands(page)
        if (match := re.fullmatch(r"make((?: [\w-]+)+)", command))
        for target in match[1].split()
    ]
    assert named
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES)
def test_scripts_and_their_options_exist(page):
    folder, num_scripts = ROOT / "expts/20241217_train_vae", 0
    for command in list_commands(page):
        words = re.split(r"\s+", command.split("&&")[-1].strip())
        if not re.fullmatch(r"\./\w+\.py", words[0]):
            continue
        script = folder / words[0]
        assert os.access(script, os.X_OK), f"{page}: {command}"
        usage = ast.get_docstring(ast.parse(script.read_text("utf-8")))
        for option in re.findall(r"--[\w-]+", command):
            assert option in usage or option == "--help", f"{page}: {command}"
        num_scripts += 1
    assert num_scripts


def test_folders_that_are_entered_exist():
    folders = [
        (page, folder)
        for page in PAGES
        for command in list_commands(page)
        for folder in re.findall(r"\bcd (\S+)", command)
    ]
    assert folders
    for page, folder in folders:
        assert (ROOT / folder).is_dir(), f"{page}: {folder}"


def test_pages_call_experiments_by_their_whole_names():
    """A second experiment of the same date must not break them."""
    for path in list_tracked():
        if path.suffix == ".rst" and "tests" not in path.relative_to(ROOT).parts:
            for match in REFERENCE.finditer(path.read_text("utf-8")):
                assert not re.search(r"(?<!\d)\d{8}(?!\w)", match[0]), f"{path}: {match[0]}"


def test_links_lead_somewhere():
    links = [
        (page, link)
        for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
        for link in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text("utf-8"))
    ]
    assert links
    for page, link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), f"{page}: {link}"


def test_the_tree_in_the_readme_exists():
    text = (ROOT / "README.md").read_text("utf-8")
    tree = text.partition("## Where things are")[2].partition("\n\n")[2].partition("\n\n")[0]
    parent, names = ROOT, []
    for line in tree.splitlines():
        indent, name = re.match(r"( +)(\S+)", line).groups()
        parent = ROOT if len(indent) == 4 else parent
        assert (parent / name).exists(), line
        parent = parent / name if len(indent) == 4 else parent
        names.append(name)
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages <= {name.rstrip("/") for name in names}


def test_versions_agree():
    version = atompaint_vae.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert project["version"] == version
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == version
    released = re.search(r"^date-released: (.*)$", citation, re.MULTILINE)[1]
    assert re.findall(r"^## \[(\d.*)\] - (.*)$", changes, re.MULTILINE)[0] == (version, released)


def test_the_pin_of_torch_is_the_one_that_the_readme_names():
    pin = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert f"pins torch to {pin[1]}," in (ROOT / "README.md").read_text("utf-8")


def list_imports(path: Path) -> set[str]:
    """Names of what a module imports, anywhere in it, absolute."""
    package = ["atompaint_vae", *path.relative_to(PACKAGE).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*parts, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", ORDER)
def test_imports_point_up(package):
    below = ORDER[ORDER.index(package) + 1 :]
    for path in (PACKAGE / package).rglob("*.py"):
        imports = list_imports(path)
        for name in imports:
            _, other, *_ = [*name.split("."), ""]
            assert not (name.startswith("atompaint_vae.") and other in below), f"{path}: {name}"
        others = {name.split(".")[0] for name in imports}
        assert not (package in NO_TORCH and others & TORCH), path
        if package in NO_COMMAND_LINE and path.relative_to(PACKAGE).as_posix() not in PROGRAMS:
            assert not others & {"docopt", "argparse", "sphinx", "docutils"}, path


def test_packages_are_all_known():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ORDER)


def test_a_folder_can_be_taken_in_at_a_glance():
    for folder in {path.parent for path in PACKAGE.rglob("*.py")}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MAX_MODULES, folder


def test_experiments_are_short_and_run():
    scripts = sorted(ROOT.glob("expts/*/train.py"))
    assert scripts
    for script in scripts:
        assert len(script.read_text("utf-8").splitlines()) < 60, script
        assert os.access(script, os.X_OK), script
        assert script.with_name("hparams.nt").is_file(), script
        assert re.match(r"\d{8}_\w+$", script.parent.name), script


def test_every_train_py_has_all_options():
    options = {}
    for script in ROOT.glob("expts/*/train.py"):
        usage = ast.get_docstring(ast.parse(script.read_text("utf-8")))
        options[script] = set(docopt.docopt(usage, []))
    known = set().union(*options.values())
    assert {str(script): known - own for script, own in options.items() if known != own} == {}


def test_no_machine_is_named():
    found = []
    for path in list_tracked():
        try:
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            for match in (MACHINE_PATH.search(line), INDEX_HOST.search(line)):
                if match:
                    found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert found == []


def test_the_hooks_call_what_is_there():
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    entries = [shlex.split(entry) for entry in re.findall(r"entry: (.*)", text)]
    assert entries
    assert set(re.findall(r"repo: (\S+)", text)) == {"local"}
    for program, *arguments in entries:
        assert program.startswith(".venv/bin/")
        for argument in arguments:
            assert not argument.endswith(".py") or (ROOT / argument).is_file(), argument
