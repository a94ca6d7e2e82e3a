"""Files without their content, as in a clone without its large files."""

from pathlib import Path

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
