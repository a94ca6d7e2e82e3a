"""
The API reference: ``.. modules:: package`` and docstrings with an aligned legend.

It is made from the modules' text. None is imported, which would take longer than all else in the
notebook, and needs torch.
"""

import importlib.util
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import switch_source_input
from sphinx.util.parsing import nested_parse_to_nodes

from ..core.problems import NotebookDirective
from ..core.watch import watch_files
from .modules import Line, describe_docstring, describe_module, read_module

UNDERLINES = "-~^'"  # of sections within sections


class ModulesDirective(NotebookDirective):
    """
    The documentation of each module of a package, one section each.

    A package inside is a section that begins with its docstring and holds the sections of its
    modules. Names that begin with an underscore are left out, and so is what has no docstring.

    package: its name; neither it nor its modules are imported
    """

    required_arguments = 1

    def show(self) -> list[nodes.Node]:
        package = self.arguments[0]
        paths = find_modules(package)
        self.env.metadata[self.env.docname]["atompaint_modules"] = {package: list(paths)}
        if not paths:
            raise ValueError(f"no modules found in package {package!r}")
        watch_files(self.env, [*paths.values(), *list_packages(paths)])
        lines = write_sections(package, paths)
        content = StringList([x.text for x in lines], items=[(x.source, x.number) for x in lines])
        with switch_source_input(self.state, content):  # for the places of warnings
            return nested_parse_to_nodes(self.state, content, allow_section_headings=True)


def write_sections(
    package: str, paths: dict[str, Path], underlines: str = UNDERLINES
) -> list[Line]:
    """
    Return the sections of a package as reStructuredText: its modules, then the packages in it.

    paths:      of all the modules by their names, those of packages inside included
    underlines: characters below the titles of this level and of those below it
    """
    inside: dict[str, dict[str, Path]] = {}
    for name, path in paths.items():
        title = name.removeprefix(f"{package}.").partition(".")[0]
        inside.setdefault(title, {})[name] = path
    modules, packages = [], []
    for title, members in inside.items():
        name = f"{package}.{title}"
        is_module = list(members) == [name]
        path = members[name] if is_module else find_init(name, members)
        section = [Line(x, str(path), 0) for x in (title, underlines[0] * len(title), "")]
        if is_module:
            modules += [*section, *describe_module(name, path)]
        else:
            section += [Line(f".. py:module:: {name}", str(path), 0), Line("", str(path), 0)]
            section += describe_docstring(read_module(path), path)
            packages += [*section, *write_sections(name, members, underlines[1:])]
    return modules + packages


def find_init(package: str, members: dict[str, Path]) -> Path:
    """Return the `__init__.py` of a package, given the paths of modules in it."""
    name, path = next(iter(members.items()))
    return path.parents[name.count(".") - package.count(".") - 1] / "__init__.py"


def list_packages(paths: dict[str, Path]) -> list[Path]:
    """Return the `__init__.py` of the folders of modules."""
    return sorted({path.parent / "__init__.py" for path in paths.values()})


def find_modules(package: str) -> dict[str, Path]:
    """
    Return the paths of a package's public modules by their names, also of packages inside.

    No module is imported. There are none if there is no such package.
    """
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:
        spec = None
    folders = spec.submodule_search_locations if spec else None
    found = {}
    for folder in map(Path, folders or []):
        for path in folder.rglob("*.py"):
            is_packaged = all((x / "__init__.py").is_file() for x in list_folders(path, folder))
            if is_packaged and not path.stem.startswith("_"):
                name = ".".join([package, *path.relative_to(folder).with_suffix("").parts])
                found[name] = path
    return dict(sorted(found.items()))


def list_folders(path: Path, top: Path) -> list[Path]:
    """Return the folders between a file and a folder above it."""
    return [x for x in path.parents if x.is_relative_to(top) and x != top]


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """Return the pages whose package has gained or lost a module."""
    return [
        doc
        for doc, metadata in env.metadata.items()
        for package, names in metadata.get("atompaint_modules", {}).items()
        if list(find_modules(package)) != names
    ]


def setup_component(app):
    app.add_directive("modules", ModulesDirective)
    app.connect("env-get-outdated", find_outdated)
