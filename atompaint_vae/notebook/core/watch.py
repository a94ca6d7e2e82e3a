"""
Files that pages show: whether their content is there, and when a page has to be read again.

Sphinx's own dependencies are an object per file and page, all of which are loaded before each
build. Here, a page stores one text of paths and one hash of the files' contents.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from stat import S_ISDIR, S_ISREG

WATCHED = "atompaint_watched"  # paths relative to the notebook's root, and a hash of the contents

POINTERS = {
    b"version https://git-lfs.github.com/spec/": ("Git LFS", "git lfs pull"),
    b"/annex/objects/": ("git-annex", "git annex get"),
}
"""The beginnings of files that only point to their content, and how to fetch the content."""


def check_content(env, target: str) -> None:
    """
    Check that a file, if it exists, is more than a broken link or a pointer.

    target: path as written in the page that is being read or written
    raises: ValueError if it is a broken link or a pointer
    """
    folder = Path(env.srcdir) if target.startswith("/") else Path(env.doc2path(env.docname)).parent
    path = folder / target.lstrip("/")
    if path.is_symlink() and not path.exists():
        raise ValueError(f"{path.name}: a broken link")
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(max(map(len, POINTERS)))
    for known, (program, command) in POINTERS.items():
        if start.startswith(known):
            text = f"only a {program} pointer; {command} fetches the file"
            raise ValueError(f"{path.name}: {text}")


def watch_files(env, paths: Iterable[Path]) -> None:
    """Have the page read again when one of these files is added, removed or changed."""
    root = str(env.srcdir)
    text = "\n".join(os.path.relpath(path, root) for path in paths)
    watched = env.metadata[env.docname].setdefault(WATCHED, {})
    if text not in watched:  # the page may show the state seen first
        watched[text] = sign_files(root, text, sign_file)


def sign_files(root: str, paths: str, sign: Callable[[str], str]) -> str:
    """Return a hash that changes whenever one of the files is added, removed or changed."""
    states = [sign(f"{root}/{path}") for path in paths.split("\n")]
    return hashlib.sha256("\n".join(states).encode()).hexdigest()


def sign_file(path: str) -> str:
    """Return a hash of a file's content, which is read again only after its time has changed."""
    try:
        stat = os.stat(path)  # noqa: PTH116  (thousands; a Path takes longer)
        return hash_file(path, stat.st_mode, stat.st_size, stat.st_mtime_ns)
    except OSError:
        return ""


@cache
def hash_file(path: str, mode: int, size: int, modified_ns: int) -> str:
    """Return a hash of a file's content; what isn't a file has none."""
    if not S_ISREG(mode):
        return "folder" if S_ISDIR(mode) else ""
    with open(path, "rb") as file:  # noqa: PTH123
        return hashlib.blake2b(file.read(), digest_size=16).hexdigest()


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """Return the pages of which a file was added, removed or changed."""
    known = getattr(app, "atompaint_inputs", {})

    @cache  # hundreds of pages watch the same modules
    def sign(path: str) -> str:
        return known[path][-1] if path in known else sign_file(path)

    root = str(env.srcdir)
    return [
        page
        for page, metadata in env.metadata.items()
        for paths, before in metadata.get(WATCHED, {}).items()
        if sign_files(root, paths, sign) != before
    ]


def setup_component(app):
    app.connect("env-get-outdated", find_outdated)
