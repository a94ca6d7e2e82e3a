"""Scripts and styles that the pages share, written once into ``_static``."""

import re
from importlib.util import find_spec
from pathlib import Path

from sphinx.errors import ExtensionError

STATIC = Path(__file__).parents[1] / "static"
BUNDLE_EXPORT = re.compile(r"export\s*\{([^{}]*)\}\s*;?")


def make_classic_script(module: str) -> str:
    """
    Return DataTables as a classic script that sets ``window.DataTable``.

    module: itables' bundle, an ES module; browsers don't load modules from file://
    raises: ExtensionError if the bundle doesn't have exactly one export statement with a default
    """
    exports = list(BUNDLE_EXPORT.finditer(module))
    names = dict(
        reversed(item.split(" as "))
        for item in exports[-1][1].split(",")
        if " as " in item
    ) if exports else {}
    if len(exports) != 1 or "default" not in names:
        raise ExtensionError(
            "itables' dt_bundle.js has another shape than expected:"
            f" {len(exports)} export statements, known names {sorted(names)};"
            " one export with a default was expected (itables 2.9 has it)"
        )
    # Modules are always in strict mode, and parts of the bundle rely on it.
    body = BUNDLE_EXPORT.sub(f"window.DataTable={names['default']};", module)
    return f'(function(){{"use strict";\n{body}\n}})();\n'


def read_bundle() -> dict[str, str]:
    """
    Return the text of DataTables' script and style, by file name.

    raises: ExtensionError if itables isn't installed or has no bundle
    """
    spec = find_spec("itables")
    folder = Path(spec.origin).parent / "html" if spec and spec.origin else None
    if folder is None or not (folder / "dt_bundle.js").is_file():
        raise ExtensionError("itables' bundle of DataTables is missing; is itables installed?")
    return {
        "datatables.js": make_classic_script((folder / "dt_bundle.js").read_text("utf-8")),
        "datatables.css": (folder / "dt_bundle.css").read_text("utf-8"),
    }


def write_assets(app):
    """Write what has changed to the folder of static files, before any page."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    # Scripts, styles and licences; an epub can't run scripts.
    suffixes = (".css",) if app.builder.name == "epub" else (".css", ".js", ".txt")
    own = {x.name: x.read_text("utf-8") for x in STATIC.iterdir() if x.suffix in suffixes}
    for name, text in (read_bundle() | own).items():
        path = folder / name
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def connect(app, config):
    """Add dark colours for tables, figures and curves if the theme has a dark mode."""
    if config.html_theme == "furo":
        app.add_css_file("dark.css", priority=591)


def setup_component(app):
    app.connect("config-inited", connect)
    app.connect("builder-inited", write_assets)
    app.add_css_file("notebook.css", priority=590)
    app.add_js_file("code.js", loading_method="defer")
