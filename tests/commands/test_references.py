"""A server on this machine that answers for doi.org."""

import http.server
import json
import threading
from collections import Counter
from urllib.parse import unquote

import pytest
from small_notebook import build_html

from atompaint_vae import cli
from atompaint_vae.commands import references
from atompaint_vae.notebook.core.references import load_references

HILL = {
    "type": "journal-article",
    "author": [{"given": "Archibald Vivian", "family": "Hill"}],
    "title": "The <i>possible</i> effects of A &amp; B_1, 50%",
    "container-title": "The Journal of Physiology",
    "volume": "40",
    "page": "iv-vii",
    "issued": {"date-parts": [[1910, 1, 22]]},
}
PREPRINT = {
    "type": "article",
    "author": [{"family": "Poeschel", "given": "Jörg"}, {"literal": "The Consortium of Many"}],
    "title": "Ångström",
    "publisher": "arXiv",
    "issued": {"date-parts": [[2019]]},
}
ANSWERS = {
    "10.1113/j_physiol.1910(40)": HILL,
    "10.1113/other": HILL,
    "10.48550/arxiv.1911.02469": PREPRINT,
    "10.1000/nojson": "<html>",
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        doi = unquote(self.path[1:])
        self.server.asked[doi] += 1
        self.server.headers.append(self.headers)
        if doi == "10.1000/busy" and self.server.asked[doi] == 1:
            self.send_response(429)
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        answer = PREPRINT if doi == "10.1000/busy" else ANSWERS.get(doi)
        body = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(404 if answer is None else 200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        """Keep the terminal clean."""


@pytest.fixture
def server(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.headers = Counter(), []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(references, "RESOLVER", f"http://127.0.0.1:{server.server_port}/")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A notebook whose first page is in docs/; the current folder."""
    lines = ['extensions = ["atompaint_vae.notebook"]', 'root_doc = "docs/index"']
    (tmp_path / "conf.py").write_text("\n".join([*lines, 'html_theme = "basic"', ""]))
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")

    def write(*cited):
        (tmp_path / "docs/index.rst").write_text(
            "Index\n=====\n\n" + "\n\n".join(cited) + "\n", "utf-8"
        )
        return tmp_path / "docs/references.bib"

    return write


def test_what_pages_cite_is_added_once(server, notebook, capsys, tmp_path):
    bib = notebook(":doi:`10.1113/J_Physiol.1910(40)`", ":doi:`https://doi.org/10.1113/other`",
                   ":doi:`10.48550/arXiv.1911.02469`", "``:doi:`10.1000/example```",
                   ":doi:`text <10.1000/linked>`")  # fmt: skip
    own = "% mine\n@misc{hill1910, title = {Kept   as it is}, doi = {10.1000/kept}}"
    bib.write_text(own)
    assert cli.run_command(["references"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "references.bib: 3 added, 1 were there"
    assert bib.read_text("utf-8").startswith(own + "\n\n")
    entries = load_references(bib, bib.stat().st_mtime_ns)
    assert {doi: x.key for doi, x in entries.items()} == {
        "10.1000/kept": "hill1910", "10.1113/j_physiol.1910(40)": "Hill1910a",
        "10.1113/other": "Hill1910b", "10.48550/arxiv.1911.02469": "Poeschel2019",
    }  # fmt: skip

    build_html(tmp_path)
    page = (tmp_path / "_build/html/docs/index.html").read_text("utf-8")
    title = "The possible effects of A &amp; B_1, 50%"
    assert "Hill AV. <" in page and f"<em>{title}</em></a>. The Journal of Physiology" in page
    assert "40:iv–vii (1910)." in page
    assert "Poeschel J &amp; The Consortium of Many. <" in page and "arXiv (2019)." in page

    asked = server.asked.total()
    assert cli.run_command(["references"]) == 0
    assert server.asked.total() == asked == 3  # the file is the cache
    assert all("atompaint_vae/" in x["User-Agent"] for x in server.headers)


def test_dois_that_fail_hide_no_others(server, notebook, capsys):
    bib = notebook(":doi:`10.1000/none`", ":doi:`10.1000/nojson`", ":doi:`10.1000/busy`")
    assert cli.run_command(["references"]) == 1
    err = capsys.readouterr().err
    assert err.splitlines() == [
        "10.1000/none: no such DOI",
        "10.1000/nojson: the answer isn't a reference in JSON",
    ]
    assert server.asked["10.1000/busy"] == 2 and server.asked["10.1000/none"] == 1
    assert list(load_references(bib, bib.stat().st_mtime_ns)) == ["10.1000/busy"]


def test_without_a_network(server, notebook, capsys, monkeypatch):
    monkeypatch.setattr(references, "NUM_RETRIES", 0)
    server.shutdown()
    server.server_close()
    bib = notebook(":doi:`10.1000/none`")
    assert cli.run_command(["references"]) == 1
    assert capsys.readouterr().err == "10.1000/none: no answer: ConnectionError\n"
    assert not bib.exists()


def test_a_broken_file_is_left_alone(server, notebook, capsys):
    bib = notebook(":doi:`10.1113/other`")
    bib.write_text("@article{x, title = {")
    assert cli.run_command(["references"]) == 2
    assert f"{bib}:1: not a readable BibTeX file" in capsys.readouterr().err
    assert bib.read_text() == "@article{x, title = {" and not server.asked
