"""The directive ``.. hyperparameters::``: every key of hparams.nt, from the schema itself."""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from ..runs import hparams
from ..runs.hparams import HparamsKey, list_keys
from .sheet_text import quote


class HyperparametersDirective(SphinxDirective):
    """A target for each key, ``:confval:`` leads to it: what it takes, its default, its meaning."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(hparams.__file__)
        lines, section = [], None
        for key in list_keys():
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
    """A description, whose code stands between single backticks, as reStructuredText."""
    return "`".join(
        f"`{part}`" if number % 2 else quote(part) for number, part in enumerate(text.split("`"))
    )


def setup_component(app):
    app.add_directive("hyperparameters", HyperparametersDirective)
