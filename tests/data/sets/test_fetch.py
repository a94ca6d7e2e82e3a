"""A server on this machine that misbehaves in every way that archives do."""

import gzip
import http.server
import re
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from atompaint_vae.data.sets.fetch import (
    DEFAULT_MIRROR,
    REGISTRY,
    fetch_structures,
    make_url,
)
from atompaint_vae.data.structures.table import StructureError, read_structure

CIF = (Path(__file__).parents[1] / "structures" / "files" / "small.cif").read_bytes()
CONTENT = gzip.compress(CIF + b"# " + bytes(range(48, 122)) * 500)


class Server(http.server.ThreadingHTTPServer):
    """Says what each id's first letters ask for; counts requests and connections at a time."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.times, self.agents = Counter(), {}, set()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def handle_error(self, request, client_address):
        """Clients that lose patience are what is tested."""

    @property
    def mirror(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{{mid}}/{{id}}.cif.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, Path(self.path).name.split(".")[0]
        with server.lock:
            server.requests[name] += 1
            server.times.setdefault(name, []).append(time.monotonic())
            server.agents.add(self.headers["User-Agent"])
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            self.answer(name[0], server.requests[name])
        finally:
            with server.lock:
                server.at_once -= 1

    def answer(self, kind: str, attempt: int):
        if kind == "4":
            self.send_error(404)
        elif kind == "5" and attempt < 3:
            self.send_response(503)
            self.send_header("Retry-After", "1")
            self.end_headers()
        elif kind == "6" and attempt < 3:  # hangs up
            self.close_connection = True
        elif kind == "7" and attempt < 3:  # half of what it promised
            self.send_content(CONTENT[: len(CONTENT) // 2], len(CONTENT))
        elif kind == "8" and attempt < 3:  # half, without a word of how much
            self.send_content(CONTENT[: len(CONTENT) // 2], None)
        elif kind == "9":
            time.sleep(1.5)
            self.send_content(CONTENT, len(CONTENT))
        elif kind == "2":
            self.send_content(b"<html>Maintenance</html>", 24)
        else:
            time.sleep(0.05)
            self.send_content(CONTENT, len(CONTENT))

    def send_content(self, content: bytes, length: int | None):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(server, folder, *ids, **kwargs):
    params = {"mirror": server.mirror, "timeout_s": 5, "first_pause_s": 0.01, "num_attempts": 4}
    return fetch_structures(list(ids), folder, **(params | kwargs))


def list_files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["5", "6", "7", "8"])
def test_a_server_that_recovers_is_asked_until_it_does(server, tmp_path, kind):
    fetched = fetch(server, tmp_path, f"{kind}abc")
    assert fetched == ([f"{kind}abc"], [], [])
    assert server.requests == {f"{kind}abc": 3}
    assert list_files(tmp_path) == [f"{kind}abc.cif.gz", REGISTRY]
    assert (tmp_path / f"{kind}abc.cif.gz").read_bytes() == CONTENT
    assert len(read_structure(tmp_path / f"{kind}abc.cif.gz")) == 7


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(server, tmp_path):
    fetch(server, tmp_path, "5abc", num_jobs=1)
    first, second, third = server.times["5abc"]
    assert second - first >= 1
    assert third - second >= 1


@pytest.mark.parametrize(
    ("pdb_id", "reason", "num_requests"),
    [
        ("4abc", "the server answered 404 Not Found", 1),
        ("5abc", r"the server answered 503 Service Unavailable \(2 attempts\)", 2),
        ("6abc", r"no connection \(2 attempts\)", 2),
        ("7abc", r"the connection ended before the file did \(2 attempts\)", 2),
        ("8abc", r"not the whole file: .*end-of-stream.* \(2 attempts\)", 2),
        ("9abc", r"no answer in time \(2 attempts\)", 2),
        ("2abc", r"not the whole file: Not a gzipped file \(b'<h'\) \(2 attempts\)", 2),
    ],
)
def test_what_cannot_be_fetched_is_named_and_leaves_nothing(
    server, tmp_path, pdb_id, reason, num_requests
):
    fetched = fetch(server, tmp_path, pdb_id, "1abc", num_attempts=2, timeout_s=1)
    assert fetched.new == ["1abc"]
    (failure,) = fetched.failures
    assert failure.pdb_id == pdb_id
    assert server.requests[pdb_id] == num_requests
    assert re.search(f"{reason}$", failure.reason), failure.reason
    assert list_files(tmp_path) == ["1abc.cif.gz", REGISTRY]


def test_no_server_at_all_is_named(tmp_path):
    fetched = fetch_structures(
        ["1abc"], tmp_path, mirror="http://127.0.0.1:9/{id}.cif", num_attempts=1, timeout_s=1
    )
    assert fetched.failures[0].reason == "http://127.0.0.1:9/1abc.cif: no connection (1 attempt)"


def test_several_are_fetched_at_a_time_and_no_more_than_asked_for(server, tmp_path):
    ids = [f"1a{letter}{digit}" for letter in "bcde" for digit in "012"]
    fetched = fetch(server, tmp_path, *ids, num_jobs=3)
    assert fetched.new == ids
    assert 2 <= server.most_at_once <= 3
    assert len((tmp_path / REGISTRY).read_text().splitlines()) == 12
    (agent,) = server.agents
    assert agent.startswith("atompaint_vae/")


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    fetch(server, tmp_path, "1abc", "1abd")
    assert fetch(server, tmp_path, "1abc", "1abd", "1abe") == (["1abe"], ["1abc", "1abd"], [])
    assert server.requests == {"1abc": 1, "1abd": 1, "1abe": 1}


def test_a_file_that_changed_is_fetched_again(server, tmp_path):
    fetch(server, tmp_path, "1abc")
    (tmp_path / "1abc.cif.gz").write_bytes(CONTENT[:-1])
    assert fetch(server, tmp_path, "1abc").new == ["1abc"]
    assert (tmp_path / "1abc.cif.gz").read_bytes() == CONTENT
    assert fetch(server, tmp_path, "1abc").cached == ["1abc"]


def test_addresses_hold_the_id_in_any_case_and_its_middle():
    assert make_url(DEFAULT_MIRROR, "1ema").endswith("/mmCIF/em/1ema.cif.gz")
    assert make_url("https://example.org/{ID}.pdb", "1ema") == "https://example.org/1EMA.pdb"
    url = make_url("http://example.org/{mid}/{id}.bcif", "pdb_00001ema")
    assert url == "http://example.org/em/pdb_00001ema.bcif"


@pytest.mark.parametrize(
    ("mirror", "problem"),
    [
        ("https://example.org/{pdb}.cif", "expected a URL with {id}, {ID} or {mid}"),
        ("https://example.org/{", "expected a URL with {id}"),
        ("https://example.org/1ema.cif", r"expected an http\(s\) URL with {id} or {ID}"),
        ("file:///etc/{id}.cif", r"expected an http\(s\) URL"),
        ("https://example.org/{id}.html", "expected a name in .cif, .mmcif, .mcif, .pdb"),
    ],
)
def test_a_mirror_that_is_none_is_an_error(tmp_path, mirror, problem):
    with pytest.raises(StructureError, match=problem):
        fetch_structures(["1ema"], tmp_path, mirror=mirror)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StructureError, match="file/folder: not a directory"):
        fetch_structures(["1ema"], tmp_path / "file" / "folder")
