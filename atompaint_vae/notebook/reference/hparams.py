"""The directive ``.. hyperparameters::``: every key of hparams.nt, from the schema."""

import sys
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from ...config import schema, space
from ...config.schema import HparamsKey, list_keys
from ...config.space import SearchFile
from ...data.hparams import DataHparams
from ...models.kind import KINDS, list_kinds
from ..core.watch import watch_files
from ..sheets.sheet import quote


class HyperparametersDirective(SphinxDirective):
    """
    The type, default and meaning of each hyperparameter; ``:confval:`` links to one.

    search: list the keys of ``search:`` instead
    """

    option_spec: ClassVar = {"search": directives.flag}

    def run(self) -> list[nodes.Node]:
        is_search = "search" in self.options
        files = [space.__file__] if is_search else list_declaring_files()
        watch_files(self.env, map(Path, files))
        lines, section, seen = [], "", set()
        for key in list_keys(SearchFile if is_search else None):
            name = key.name.rpartition(".")[0]
            if key.kind and len(KINDS) > 1:
                name += f" of {key.kind}"
            if name and name != section:
                lines += [name, "-" * len(name), ""]
            section = name
            lines += describe_key(key, has_target=key.name not in seen)
            seen.add(key.name)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def list_declaring_files() -> list[str]:
    """Return the modules that declare hyperparameters."""
    classes = [x for kind in list_kinds() for x in (kind.model, kind.loss)]
    modules = [sys.modules[x.__module__] for x in (DataHparams, *classes)]
    return [schema.__file__, *dict.fromkeys(module.__file__ for module in modules)]


def describe_key(key: HparamsKey, *, has_target: bool) -> list[str]:
    """Return a key's entry; `:confval:` leads to the first of several of one name."""
    defaults = {None: "none: it must be given", "": "blank"}
    default = defaults.get(key.default, f"``{key.default}``")
    return [
        f".. confval:: {key.name}",
        f"   :type: {quote(key.expected)}",
        f"   :default: {default}",
        *([] if has_target else ["   :no-index:"]),
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
