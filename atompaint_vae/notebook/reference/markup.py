"""The directive ``.. markup::``: a reference of this extension's directives and roles."""

import inspect

from docutils import nodes
from docutils.parsers.rst import directives, roles
from sphinx.util.docutils import SphinxDirective

from .docstrings import escape, format_docstring, parse_legend, split_blocks

PACKAGE = __package__.rpartition(".")[0]
"""The whole extension."""


class MarkupDirective(SphinxDirective):
    """A reference of all directives and roles of this extension, from their docstrings."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for title, kind, found in [
            ("Directives", "directive", find_directives()),
            ("Roles", "role", find_roles()),
        ]:
            lines += [title, "-" * len(title), ""]
            for name, item in sorted(found.items()):
                lines += describe(kind, name, item)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def find_directives() -> dict[str, type]:
    """Return the classes of this extension's directives, by name."""
    return {name: x for name, x in directives._directives.items() if _is_ours(x)}


def find_roles() -> dict[str, type]:
    """Return the classes of this extension's roles, by name."""
    return {name: type(x) for name, x in roles._roles.items() if _is_ours(type(x))}


def describe(kind: str, name: str, item: type) -> list[str]:
    """
    Return the description of a directive or role as reStructuredText.

    The legend of its docstring describes arguments, which become part of the signature, and
    options.

    kind: directive or role
    """
    options = getattr(item, "option_spec", None) or {}
    arguments, body = [], []
    for block in split_blocks(inspect.cleandoc(item.__doc__ or "").splitlines()):
        entries = parse_legend(block)
        if not entries:
            body += format_docstring(block)
        for key, text in entries:
            if key not in options:
                arguments.append(key)
            body += [f"``:{key}:``" if key in options else f"*{key}*", f"   {escape(text)}", ""]
    signature = f".. {name}:: {' '.join(arguments)}" if kind == "directive" else name
    return [f".. rst:{kind}:: {signature}", "", *(f"   {x}".rstrip() for x in body), ""]


def _is_ours(item: type) -> bool:
    return getattr(item, "__module__", "").startswith(f"{PACKAGE}.")


def setup_component(app):
    app.add_directive("markup", MarkupDirective)
