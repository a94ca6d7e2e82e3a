"""
The files that a page must be read again for.

Sphinx keeps an object for each file of each page, and loads all of them before each build. Here a
page keeps one text of paths and one hash of what the files were.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

WATCHED = "atompaint_watched"  # paths, as seen from the notebook's root, and what they were


def watch_files(env, paths: Iterable[Path]) -> None:
    """Nothing; the page is read again when one of these files has come, gone or changed."""
    root = str(env.srcdir)
    text = "\n".join(os.path.relpath(path, root) for path in paths)
    watched = env.metadata[env.docname].setdefault(WATCHED, {})
    if text not in watched:  # what was seen first is what the page may show
        watched[text] = sign_files(root, text, sign_file)


def sign_files(root: str, paths: str, sign: Callable[[str], str]) -> str:
    """Something that differs whenever one of the files has come, gone or changed."""
    states = [sign(f"{root}/{path}") for path in paths.split("\n")]
    return hashlib.sha256("\n".join(states).encode()).hexdigest()


def sign_file(path: str) -> str:
    try:
        stat = Path(path).stat()
    except OSError:
        return ""
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """The pages of which a file has come, gone or changed."""
    sign = cache(sign_file)  # modules are watched by hundreds of pages
    root = str(env.srcdir)
    return [
        page
        for page, metadata in env.metadata.items()
        for paths, before in metadata.get(WATCHED, {}).items()
        if sign_files(root, paths, sign) != before
    ]


def setup_component(app):
    app.connect("env-get-outdated", find_outdated)
