"""The roles ``:pdb:`` and ``:doi:``, with citations from ``references.bib``."""

import re
from functools import lru_cache
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.util.docutils import ReferenceRole

from ...data import PDB_ID
from .problems import note_damages, report

DOI = re.compile(r"10\.\d{4,9}/\S+")
DOI_PREFIX = re.compile(r"(https?://(dx\.)?doi\.org/|doi:\s*)", re.IGNORECASE)
MAX_AUTHORS = 5  # with more, only the first is named


class PdbRole(ReferenceRole):
    """
    A link to an entry of the Protein Data Bank: ``:pdb:`4w4g```.

    The text is the entry's id; for another text, write ``text <4w4g>``.
    """

    def run(self):
        entry = self.target.strip().upper()
        if not PDB_ID.fullmatch(entry):
            return _fail(self, f"bad PDB id {self.target!r}; expected one such as 4W4G")
        text = self.title if self.has_explicit_title else entry
        uri = f"https://www.rcsb.org/structure/{entry}"
        return [nodes.reference(self.rawtext, text, refuri=uri, classes=["pdb"])], []


class DoiRole(ReferenceRole):
    """
    A citation by its DOI: authors, title, journal and year; the title is a link.

    The entries come from ``references.bib``, a BibTeX file beside the notebook's first page, as
    reference managers export it; ``atompaint-vae references`` adds those that it lacks. The build
    downloads nothing. A DOI that isn't in the file is shown as it is. For another text, write
    ``Strobl et al. <10.1016/j.jcp...>``.
    """

    def run(self):
        doi = DOI_PREFIX.sub("", self.target.strip())
        if not DOI.fullmatch(doi):
            return _fail(self, f"bad DOI {self.target!r}; expected one such as 10.1038/nature14539")
        uri = f"https://doi.org/{doi}"
        file = PurePosixPath(self.config.root_doc).with_name("references.bib")
        path = Path(self.env.srcdir, file)
        entry = None
        if path.is_file() and not self.has_explicit_title:
            self.env.note_dependency(str(file))
            try:
                entry = load_references(path, path.stat().st_mtime_ns).get(doi.lower())
            except BibliographyError as error:
                note_damages(self.env, str(error))
        if entry is None:
            text = self.title if self.has_explicit_title else f"doi:{doi}"
            return [nodes.reference(self.rawtext, text, refuri=uri, classes=["doi"])], []
        return format_citation(entry, uri), []


class BibliographyError(ValueError):
    """A bibliography that can't be read. The message is one line."""


@lru_cache(maxsize=1)
def load_references(path: Path, modified_ns: int) -> dict:
    """
    Return pybtex's entries of a BibTeX file, by their DOIs in lower case.

    modified_ns: time of the file's last change; a changed file is read again
    raises:      BibliographyError if the file is broken
    """
    from pybtex.database import parse_file
    from pybtex.exceptions import PybtexError
    from pybtex.richtext import Text

    try:
        entries = parse_file(path, bib_format="bibtex", encoding="utf-8").entries.values()
    except (PybtexError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        line = re.search(r"in line (\d+)", reason)
        place = f"{path}:{line[1] if line else 1}"
        raise BibliographyError(f"{place}: not a readable BibTeX file: {reason}") from error
    dois = {str(Text.from_latex(x.fields["doi"])): x for x in entries if "doi" in x.fields}
    return {DOI_PREFIX.sub("", doi).lower(): entry for doi, entry in dois.items()}


def format_citation(entry, uri: str) -> list[nodes.Node]:
    """
    Return a citation: authors, title (a link), journal, volume, pages and year.

    entry: an entry of pybtex
    """
    from pybtex.richtext import Text

    def read(field):
        return str(Text.from_latex(entry.fields.get(field, ""))).strip()

    authors = [_format_person(x) for x in entry.persons.get("author", [])]
    if len(authors) > MAX_AUTHORS:
        authors = [f"{authors[0]} et al"]
    elif len(authors) > 1:
        authors[-2:] = [f"{authors[-2]} & {authors[-1]}"]
    title = read("title") or uri.removeprefix("https://doi.org/")
    link = nodes.reference("", "", nodes.emphasis("", title), refuri=uri, classes=["doi"])
    journal = read("journal") or read("booktitle") or read("publisher")
    pages = re.sub("[-–—]+", "–", read("pages"))
    place = ":".join(filter(None, [read("volume"), pages]))
    year = f"({read('year')})" if "year" in entry.fields else ""
    end = " ".join(filter(None, [journal, place, year]))
    stop = "" if title.endswith((".", "?", "!")) else "."
    before = nodes.Text(f"{', '.join(authors)}. ") if authors else nodes.Text("")
    return [before, link, nodes.Text(f"{stop} {end}." if end else stop)]


def _format_person(person) -> str:
    names = [*person.rich_prelast_names, *person.rich_last_names]
    initials = "".join(
        str(name)[0] for name in [*person.rich_first_names, *person.rich_middle_names] if str(name)
    )
    return f"{' '.join(map(str, names))} {initials}".strip()


def _fail(role: ReferenceRole, message: str):
    report(ValueError(message), role)
    return [nodes.literal("", role.title)], []


def setup_component(app):
    app.add_role("pdb", PdbRole())
    app.add_role("doi", DoiRole())
