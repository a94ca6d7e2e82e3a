"""
Build the pages of a notebook; at once if nothing has changed since.

    python -m atompaint_vae.notebook SOURCE OUT [OPTIONS]

This is `sphinx-build -M html SOURCE OUT [OPTIONS]`, with Sphinx's options, except that it compares
the content of all files first.
"""

import sys
from pathlib import Path

from .core.state import is_unchanged


def main(argv: list[str]) -> int:
    if len(argv) < 2 or argv[0].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    source, out = (Path(x).resolve() for x in argv[:2])
    arguments = ["-M", "html", *argv]
    if is_unchanged(source, out / "html", out / "doctrees", arguments):
        return 0
    from sphinx.cmd.build import main as build

    sys.argv[1:] = arguments
    return build(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
