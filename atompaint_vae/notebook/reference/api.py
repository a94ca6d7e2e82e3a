"""The API reference: ``.. modules:: package`` and docstrings with an aligned legend."""

import importlib.util
import re
from pathlib import Path

from docutils import nodes

from ..core.problems import NotebookDirective

# "atoms:   columns x, y, z [Å]", or two columns of names and meanings, without the colon
LEGEND_LINE = re.compile(r"(\*{0,2}[\w./]+(?:, ?\*{0,2}[\w./]+)*)(?::\s+|\s{2,})(\S.*)")
LIST_ITEM = re.compile(r"([-*•]|\(?\d+[.)]|#\.)\s")
PROTECTED = re.compile(
    r"``.*?``|:[\w:]+:`[^`]*`|`[^`]*`_?"
    r"|(?<!\$)\$[^$ ][^$]*\$"
    r"|(?<![\w*])(\*\*?)(?=[^\s*])[^*]*?(?<=[^\s*])\1(?![\w*])",
    re.DOTALL,
)
LOOSE_MARKUP = re.compile(r"\*|\||(?<=\w)_(?!\w)")
UNDERLINES = "-~^'"  # of sections within sections


class ModulesDirective(NotebookDirective):
    """
    The documentation of each module of a package, one section each.

    A package inside is a section that begins with its docstring and holds the sections of its
    modules. Names that begin with an underscore are left out.

    package: its name; its modules are imported
    """

    required_arguments = 1

    def show(self) -> list[nodes.Node]:
        names = find_modules(self.arguments[0])
        self.env.metadata[self.env.docname]["atompaint_modules"] = {self.arguments[0]: names}
        if not names:
            raise ValueError(f"no modules found in package {self.arguments[0]!r}")
        lines = write_sections(self.arguments[0], names)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def write_sections(package: str, names: list[str], underlines: str = UNDERLINES) -> list[str]:
    """
    Return the sections of a package as reStructuredText: its modules, then the packages in it.

    names:      of all the modules, those of packages inside included
    underlines: characters below the titles of this level and of those below it
    """
    inside: dict[str, list[str]] = {}
    for name in names:
        title = name.removeprefix(f"{package}.").partition(".")[0]
        inside.setdefault(title, []).append(name)
    modules, packages = [], []
    for title, members in inside.items():
        name = f"{package}.{title}"
        section = [title, underlines[0] * len(title), "", f".. automodule:: {name}"]
        if members == [name]:
            modules += [*section, "   :members:", ""]
        else:
            packages += [*section, "", *write_sections(name, members, underlines[1:])]
    return modules + packages


def find_modules(package: str) -> list[str]:
    """
    Return the names of a package's public modules, including those of packages inside.

    No module is imported. The list is empty if there is no such package.
    """
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:
        spec = None
    folders = spec.submodule_search_locations if spec else None
    names = []
    for folder in map(Path, folders or []):
        for path in folder.rglob("*.py"):
            is_packaged = all((x / "__init__.py").is_file() for x in list_folders(path, folder))
            if is_packaged and not path.stem.startswith("_"):
                names.append(".".join([package, *path.relative_to(folder).with_suffix("").parts]))
    return sorted(names)


def list_folders(path: Path, top: Path) -> list[Path]:
    """Return the folders between a file and a folder above it."""
    return [x for x in path.parents if x.is_relative_to(top) and x != top]


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """Return the pages whose package has gained or lost a module."""
    return [
        doc
        for doc, metadata in env.metadata.items()
        for package, names in metadata.get("atompaint_modules", {}).items()
        if find_modules(package) != names
    ]


def format_docstring(lines: list[str]) -> list[str]:
    """
    Return a docstring as valid reStructuredText.

    Legends become field lists, and indented text becomes literal blocks. Characters that would
    start markup by accident are escaped.

    lines: of a docstring with blocks such as ``atoms:   columns x, y, z [Å]``
    """
    result, is_literal, may_indent = [], False, False
    for block in split_blocks(lines):
        if block[0][0].isspace():
            if not (is_literal or may_indent):
                result += ["::", ""]
                is_literal = True
            result += [*block, ""]
            continue
        is_literal = block[-1].endswith("::")
        may_indent = bool(LIST_ITEM.match(block[0])) or block[0].startswith((".. ", ":"))
        result += [*_format_block(block, may_indent), ""]
    return result


def parse_legend(block: list[str]) -> list[tuple[str, str]]:
    """Return the names and meanings in a paragraph, an empty list if it isn't a legend."""
    entries: list[tuple[str, str]] = []
    for line in block:
        if match := LEGEND_LINE.fullmatch(line):
            entries.append((match[1], match[2]))
        elif entries:
            name, text = entries[-1]
            entries[-1] = (name, f"{text} {line.strip()}")
        else:
            return []
    return entries


def split_blocks(lines: list[str]) -> list[list[str]]:
    """Return the paragraphs of a docstring, each as a list of lines."""
    blocks, block = [], []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
        elif block:
            blocks.append(block)
            block = []
    return blocks


def _format_block(block: list[str], is_structure: bool) -> list[str]:
    if is_structure or block[0].startswith(">>> "):
        return block if block[0].startswith((".. ", ">>> ")) else _escape_lines(block)
    if entries := parse_legend(block):
        # Sphinx rewrites field lists at the top of an object's description, but not nested ones.
        fields = [f"   :{escape(name)}: {escape(text)}" for name, text in entries]
        return [".. container:: docstring-legend", "", *fields]
    if any(line[0].isspace() for line in block):
        return ["::", "", *(f"   {line}" for line in block)]
    return _escape_lines(block)


def _escape_lines(block: list[str]) -> list[str]:
    return escape("\n".join(block)).split("\n")


def escape(text: str) -> str:
    """Return text with a backslash before each character that would start markup by accident."""
    pieces, end = [], 0
    for match in PROTECTED.finditer(text):
        pieces += [_escape_loose(text[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*pieces, _escape_loose(text[end:])])


def _escape_loose(text: str) -> str:
    return LOOSE_MARKUP.sub(lambda m: "\\" + m[0], text)


def process_docstring(app, what, name, obj, options, lines):
    if name.split(".")[0] == "atompaint_vae":
        # The automatic docstrings of a NamedTuple's fields say nothing.
        is_dull = bool(lines) and lines[0].startswith("Alias for field number")
        lines[:] = [] if is_dull else format_docstring(lines)


def setup_component(app):
    app.add_directive("modules", ModulesDirective)
    app.connect("env-get-outdated", find_outdated)
    if "sphinx.ext.autodoc" in app.extensions:
        app.connect("autodoc-process-docstring", process_docstring)
