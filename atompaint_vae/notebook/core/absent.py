"""Files that stand in a folder without their content, as in a clone without its large files."""

from pathlib import Path

POINTERS = {
    b"version https://git-lfs.github.com/spec/": "Git LFS: git lfs pull",
    b"/annex/objects/": "git-annex: git annex get",
}
"""How a file begins that only says where its content is, and what gets the content."""


def check_content(env, target: str) -> None:
    """
    Nothing; what a page shows may be missing, but is more than a link or a pointer.

    target: path as it is written in the page that is being read or written
    raises: ValueError if it is a link that leads nowhere, or a pointer
    """
    folder = Path(env.srcdir) if target.startswith("/") else Path(env.doc2path(env.docname)).parent
    path = folder / target.lstrip("/")
    if path.is_symlink() and not path.exists():
        raise ValueError(f"{path.name}: a link to a file that isn't there")
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(max(map(len, POINTERS)))
    for known, remedy in POINTERS.items():
        if start.startswith(known):
            raise ValueError(f"{path.name}: only a pointer to the file, of {remedy}")
