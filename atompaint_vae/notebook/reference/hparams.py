"""The directive ``.. hyperparameters::``: every key of hparams.nt, from the schema."""

from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from ...config import schema, space
from ...config.hparams import Hparams, HparamsKey, list_keys
from ...config.space import SearchFile
from ..sheets.sheet import quote


class HyperparametersDirective(SphinxDirective):
    """
    The type, default and meaning of each hyperparameter; ``:confval:`` links to one.

    search: list the keys of ``search:`` instead
    """

    option_spec: ClassVar = {"search": directives.flag}

    def run(self) -> list[nodes.Node]:
        is_search = "search" in self.options
        self.env.note_dependency(space.__file__ if is_search else schema.__file__)
        lines, section = [], None
        for key in list_keys(SearchFile if is_search else Hparams):
            name = key.name.rpartition(".")[0]
            if name and name != section:
                lines += [name, "-" * len(name), ""]
            section = name
            lines += describe_key(key)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def describe_key(key: HparamsKey) -> list[str]:
    default = "none: it must be given" if key.default is None else f"``{key.default}``"
    return [
        f".. confval:: {key.name}",
        f"   :type: {quote(key.expected)}",
        f"   :default: {default}",
        "",
        f"   {mark_code(key.description)}",
        "",
    ]


def mark_code(text: str) -> str:
    """Return a description, in which single backticks mark code, as reStructuredText."""
    return "`".join(
        f"`{part}`" if number % 2 else quote(part) for number, part in enumerate(text.split("`"))
    )


def setup_component(app):
    app.add_directive("hyperparameters", HyperparametersDirective)
