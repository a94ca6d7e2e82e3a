"""A server builds the pages again at each change, and outlives all mistakes in them."""

import http.client
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from atompaint_vae.notebook.builds import waiting
from atompaint_vae.notebook.builds.live import HOST, describe, is_input, serve

ROOT = Path(__file__).parents[3]
TIMEOUT_s = 120.0  # on busy cores; idle ones take less than one


class Server:
    """A server of the pages of a folder, in a process of its own."""

    def __init__(self, source: Path):
        self.source = source
        self.log = source.with_suffix(".log")  # outside of what is watched
        command = [sys.executable, "-m", "atompaint_vae.notebook", "--live=0", ".", "_build", "-q"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                command, cwd=source, stdout=file, stderr=subprocess.STDOUT, env=environment
            )
        self.wait_for(lambda: self.count_builds() == 1)
        self.address = re.search(r"http://[\d.:]+", self.read_log())[0]

    def read_log(self) -> str:
        return self.log.read_text("utf-8")

    def count_builds(self) -> int:
        return self.read_log().count("Serving on")

    def wait_for(self, condition) -> None:
        end_s = time.monotonic() + TIMEOUT_s
        while not condition():
            assert time.monotonic() < end_s, self.read_log()
            assert self.process.poll() is None, self.read_log()
            time.sleep(0.05)

    def get(self, page: str) -> str:
        """The page, blank if there is none."""
        try:
            with urllib.request.urlopen(f"{self.address}/{page}", timeout=TIMEOUT_s) as answer:
                return answer.read().decode()
        except (urllib.error.HTTPError, http.client.IncompleteRead):
            return ""

    def wait_for_text(self, page: str, text: str) -> None:
        self.wait_for(lambda: text in self.get(page))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    source = tmp_path_factory.mktemp("live") / "notebook"
    shutil.copytree(ROOT / "docs/guide/own_notebook", source)
    shutil.copytree(
        ROOT / "expts/20241001_quick_start", source / "20241001_runs",
        ignore=shutil.ignore_patterns("*.rst", "checkpoints", "tensorboard"),
    )  # fmt: skip
    (source / "20241001_runs/notes.rst").write_text(
        "Runs\n====\n\nParameters: :metric:`gated num_parameters`\n"
    )
    server = Server(source)
    yield server
    server.process.kill()
    server.process.wait()


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text("utf-8") + text, "utf-8")


def test_pages_tables_and_records(server):
    notes = "titrate_protein/notes"
    append(server.source / f"{notes}.rst", "\nSaid later.\n")
    server.wait_for_text(f"{notes}.html", "Said later.")
    (server.source / "titrate_protein/titration.csv").write_text("nM,θ\n12,0.4711\n")
    server.wait_for_text(f"{notes}.html", "0.4711")
    record = server.source / "20241001_runs/runs/gated/record.nt"
    text = record.read_text("utf-8").replace("num_parameters: 35946", "num_parameters: 4711")
    record.write_text(text)
    server.wait_for_text("20241001_runs/notes.html", ">4711<")


def test_a_mistake_is_shown_and_can_be_mended(server):
    notes = "titrate_protein/notes"
    append(server.source / f"{notes}.rst", "\n.. datatable:: nothing.csv\n")
    server.wait_for(lambda: "no such file" in server.read_log())
    server.wait_for_text(f"{notes}.html", "Not shown")
    path = server.source / f"{notes}.rst"
    path.write_text(path.read_text("utf-8").replace("nothing.csv", "titration.csv"))
    server.wait_for(lambda: "Not shown" not in (server.get(f"{notes}.html") or "Not shown"))


def test_pages_come_and_go_two_at_once(server):
    for name in ("one", "two"):
        folder = server.source / f"20250101_{name}"
        folder.mkdir()
        (folder / "notes.rst").write_text(f"Title {name}\n=========\n")
    for name in ("one", "two"):
        server.wait_for_text("index.html", f"Title {name}")
        server.wait_for_text(f"20250101_{name}/notes.html", f"Title {name}")
    shutil.rmtree(server.source / "20250101_one")
    server.wait_for(lambda: "Title one" not in (server.get("index.html") or "Title one"))


def test_a_change_during_a_build_is_not_lost(server):
    page = server.source / "index.rst"
    append(page, "\nFirst.\n")
    num_begun = server.read_log().count("Building")
    server.wait_for(lambda: server.read_log().count("Building") > num_begun)
    append(page, "\nSecond.\n")
    server.wait_for_text("index.html", "Second.")


def test_what_is_no_input_starts_no_build(server):
    run = min(server.source.glob("20241001_runs/runs/*"))
    num_builds = server.count_builds()
    (run / "val.csv").write_text("step\n1\n")
    (server.source / ".notes.rst.swp").write_text("")
    append(server.source / "index.rst", "\nAt last.\n")
    server.wait_for_text("index.html", "At last.")
    server.wait_for(lambda: server.count_builds() > num_builds)
    assert server.count_builds() == num_builds + 1


def test_a_new_configuration_a_mistake_in_it_and_a_module_of_it(server):
    conf = server.source / "conf.py"
    text = conf.read_text("utf-8")
    conf.write_text(text.replace("Binding of a repressor", "Another title"))
    server.wait_for_text("index.html", "Another title")
    conf.write_text("extensions = [\n")
    server.wait_for(lambda: "was never closed" in server.read_log())
    more = f"import sys\nsys.path.insert(0, {str(server.source)!r})\nimport titles\n"
    conf.write_text(f"{text}{more}project = titles.TITLE\n")
    (server.source / "titles.py").write_text('TITLE = "From a module"\n')
    server.wait_for_text("index.html", "From a module")
    (server.source / "titles.py").write_text('TITLE = "From a new module"\n')
    server.wait_for_text("index.html", "From a new module")


def test_ctrl_c_ends_it_at_once(server):
    before = server.read_log()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=20) == 0
    assert "Traceback" not in server.read_log().removeprefix(before)
    with pytest.raises(urllib.error.URLError):
        server.get("index.html")


def test_what_cannot_be_served(tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases = [
            (tmp_path, port, f"--live={port}: address already in use; --live=0 takes a port that is"
             " free"),
            (tmp_path, 99_999, "--live=99999: expected a port, 0 to 65535"),
            (tmp_path / "none", 0, f"{tmp_path / 'none'}: no such folder"),
        ]  # fmt: skip
        for source, port, message in cases:
            assert serve(source, tmp_path / "_build", [], port) == 2
            assert capsys.readouterr().err == f"{message}\n"


def test_inputs(tmp_path):
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment/pyvenv.cfg").touch()
    for path, expected in {
        "a/notes.rst": True,
        "a/.expt/id": True,
        "a/runs/wide/record.nt": True,
        "a/runs/wide/val.csv": False,
        "a/runs/wide/checkpoints/last.ckpt": False,
        "a/sheet.rst": False,
        "a/.notes.rst.swp": False,
        "a/notes.rst~": False,
        "a/table.csv.tmp": False,
        ".git/index": False,
        "_build/html/index.html": False,
        "environment/lib/module.py": False,
    }.items():
        assert is_input(tmp_path / path, tmp_path, tmp_path / "_build") == expected, path


def test_many_changes_are_named_shortly(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {str(tmp_path / f"{i}.rst") for i in range(7)}
    text = "Building after a change of 0.rst, 1.rst, 2.rst, 3.rst, 4.rst and 2 more"
    assert describe(names) == text


def test_a_waiting_build_ends_silently_without_its_server():
    here, there = multiprocessing.Pipe()
    here.close()
    app = SimpleNamespace(config={waiting.KEY: os.dup(there.fileno())}, confdir=".")
    with pytest.raises(SystemExit) as error:
        waiting.wait(app)
    assert error.value.code is None
