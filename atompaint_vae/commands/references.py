"""Add the references that pages cite by :doi: to references.bib.

Usage:
    atompaint-vae references
    atompaint-vae references (-h | --help)

The file is beside the notebook's first page. Each DOI that it lacks is looked up once, at doi.org,
which asks Crossref, DataCite or another agency. From then on, pages need no network. Entries that
are there stay as they are, and may be edited.

Exit codes: 0 success; 1 some DOIs were not found, which are listed; 2 failure.
"""

import html
import os
import re
import sys
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import docopt

from .. import __version__
from ..notebook.core.references import DOI, DOI_PREFIX, load_references
from ..records.find import find_expts_dir, get_root
from ..text.files import write_atomic

RESOLVER = "https://doi.org/"
HEADERS = {
    "Accept": "application/vnd.citationstyles.csl+json",
    "User-Agent": f"atompaint_vae/{__version__}",
}
TIMEOUT_S = 30
NUM_RETRIES = 3
BUSY_CODES = (429, 500, 502, 503, 504)

ROOT_DOC = re.compile(r"""^(?:root|master)_doc\s*=\s*["'](.+?)["']""", re.MULTILINE)
# Not in an example, between double backticks, nor with a text of its own, which needs no entry.
ROLE = re.compile(r"(?<!`):doi:`([^`<>]+)`")
TYPES = {
    "article-journal": "article", "journal-article": "article",
    "paper-conference": "inproceedings", "proceedings-article": "inproceedings",
    "chapter": "incollection", "book-chapter": "incollection", "book": "book",
    "thesis": "phdthesis", "dissertation": "phdthesis",
}  # fmt: skip
"""BibTeX's types by those of CSL and of Crossref; others are misc."""


def main(argv: list[str]) -> int:
    import requests

    docopt.docopt(__doc__, ["references", *argv])
    root = get_root(find_expts_dir(Path.cwd()))
    path = find_bibliography(root)
    text = path.read_text("utf-8") if path.is_file() else ""
    known = load_references(path, path.stat().st_mtime_ns) if text else {}
    keys = {entry.key for entry in known.values()}
    missing = [doi for doi in find_cited(root) if doi not in known]
    failures = []
    with make_session() as session:
        for doi in missing:
            try:
                csl = fetch(session, doi)
            except requests.RequestException as error:
                failures.append(f"{doi}: {describe(error)}")
                continue
            key = choose_key(csl, keys)
            keys.add(key)
            text = "\n\n".join(filter(None, [text.rstrip("\n"), format_entry(key, doi, csl)]))
            write_atomic(path, text + "\n")  # whatever happens to the next one
            print(f"{doi}: {key}")
    for failure in failures:
        print(failure, file=sys.stderr)
    shown = os.path.relpath(path)
    print(f"{shown}: {len(missing) - len(failures)} added, {len(known)} were there")
    return 1 if failures else 0


def find_bibliography(root: Path) -> Path:
    """Return the path of references.bib, which may not exist yet."""
    conf = root / "conf.py"
    match = ROOT_DOC.search(conf.read_text("utf-8")) if conf.is_file() else None
    return root / PurePosixPath(match[1] if match else "index").with_name("references.bib")


def find_cited(root: Path) -> list[str]:
    """Return the DOIs that a notebook's pages cite, in lower case; other notebooks are left out."""
    found = []
    for path in _list_pages(root):
        for target in ROLE.findall(path.read_text("utf-8", "replace")):
            doi = DOI_PREFIX.sub("", target.strip()).lower()
            if DOI.fullmatch(doi):
                found.append(doi)
    return list(dict.fromkeys(found))


def _list_pages(root: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(root):
        if "conf.py" in files and folder != str(root):
            subfolders.clear()
            continue
        subfolders[:] = sorted(x for x in subfolders if x != "runs" and x[0] not in "._")
        yield from (Path(folder, x) for x in sorted(files) if x.endswith(".rst"))


def make_session():
    """Return a session that asks a busy server again, as late as it wants."""
    import requests
    from urllib3.util import Retry

    retry = Retry(
        NUM_RETRIES, backoff_factor=1, status_forcelist=BUSY_CODES, raise_on_status=False
    )
    session = requests.Session()
    session.headers.update(HEADERS)
    for scheme in ("https://", "http://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
    return session


def fetch(session, doi: str) -> dict:
    """
    Return what is known of a DOI, as CSL JSON.

    raises: requests.RequestException if there is no answer, or one that isn't an object in JSON
    """
    import requests

    response = session.get(RESOLVER + quote(doi, safe="/()"), timeout=TIMEOUT_S)
    response.raise_for_status()
    csl = response.json()
    if not isinstance(csl, dict):
        raise requests.exceptions.InvalidJSONError("expected an object")
    return csl


def describe(error: Exception) -> str:
    """Return why a DOI has no entry, in one line."""
    response = getattr(error, "response", None)
    if response is not None and response.status_code == 404:
        return "no such DOI"
    if response is not None and response.status_code >= 400:
        return f"the server answered {response.status_code} {response.reason}".rstrip()
    if isinstance(error, ValueError):
        return "the answer isn't a reference in JSON"
    return f"no answer: {type(error).__name__}"


def choose_key(csl: dict, taken: Collection[str]) -> str:
    """Return a key such as Hill1910, with a letter after it if that is taken."""
    authors = csl.get("author") or [{}]
    name = authors[0].get("family") or authors[0].get("literal") or "anonymous"
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    key = (re.sub(r"\W", "", plain) or "anonymous") + find_year(csl)
    lower = {x.lower() for x in taken}
    ends = ("", *"abcdefghijklmnopqrstuvwxyz")
    return next((key + x for x in ends if (key + x).lower() not in lower), f"{key}-{len(lower)}")


def find_year(csl: dict) -> str:
    """Return the year of publication, "" if it is unknown."""
    parts = (csl.get("issued") or {}).get("date-parts") or [[]]
    return str(parts[0][0]) if parts[0] and parts[0][0] else ""


def format_entry(key: str, doi: str, csl: dict) -> str:
    """Return an entry in BibTeX."""
    from pybtex.database import BibliographyData, Entry, Person

    kind = TYPES.get(csl.get("type", ""), "misc")
    place = "booktitle" if kind in ("inproceedings", "incollection") else "journal"
    fields = {
        "title": _clean(csl.get("title")),
        place: _clean(csl.get("container-title")),
        "publisher": _clean(csl.get("publisher")),
        "volume": _clean(csl.get("volume")),
        "pages": _clean(csl.get("page") or csl.get("article-number")).replace("-", "--"),
        "year": find_year(csl),
        "doi": doi,
    }
    authors = [
        Person(first=_clean(x.get("given")), last=_clean(x["family"]))
        if x.get("family")
        else Person(last=f"{{{_clean(x.get('literal') or x.get('name'))}}}")
        for x in csl.get("author") or []
    ]
    entry = Entry(kind, {k: v for k, v in fields.items() if v}, {"author": authors})
    return BibliographyData({key: entry}).to_string("bibtex").strip()


def _clean(value: object) -> str:
    """Return text without markup and braces; Crossref has lists of titles."""
    text = (value[0] if value else "") if isinstance(value, list) else (value or "")
    text = html.unescape(re.sub(r"<[^>]+>", "", str(text)))
    return " ".join(re.sub(r"[{}\\]", "", text).split())
