"""
Build the pages of a notebook, at once if nothing has changed since; or build them at each change.

    python -m atompaint_vae.notebook SOURCE OUT [OPTIONS]
    python -m atompaint_vae.notebook --live[=PORT] SOURCE OUT [OPTIONS]

This is `sphinx-build -M html SOURCE OUT [OPTIONS]`, with Sphinx's options, except that it compares
the content of all files first. With --live, it serves the pages on this machine until Ctrl-C, at
port 8000 by default, or at any free one if PORT is 0.
"""

import gc
import re
import sys
from pathlib import Path

from .builds.state import is_unchanged

LIVE = re.compile(r"--live(?:=(\d+))?")
PORT = 8000


def main(argv: list[str]) -> int:
    live = LIVE.fullmatch(argv[0]) if argv else None
    build_arguments = argv[1:] if live else argv
    if len(build_arguments) < 2 or build_arguments[0].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    source, out = (Path(x).resolve() for x in build_arguments[:2])
    arguments = ["-M", "html", *build_arguments]
    if live:
        from .builds.live import serve

        return serve(source, out, arguments, port=int(live[1] or PORT))
    if is_unchanged(source, out / "html", out / "doctrees", arguments):
        return 0
    gc.disable()  # it would take a third of the time of a small build
    from sphinx.cmd.build import main as build

    sys.argv[1:] = arguments
    return build(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
