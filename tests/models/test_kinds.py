"""A kind of model that the package knows nothing of goes all the way that a VAE goes."""

import re

import pytest
import torch
from notebook.conftest import CONF, Notebook

from atompaint_vae.cli import run_command
from atompaint_vae.config.hparams import HparamsError, load_hparams, load_resolved
from atompaint_vae.models.kind import KINDS, UnknownKindError, get_kind
from atompaint_vae.records.record import load_record

TOY = {
    "shared:\n": "shared:\n  kind: toy\n",
    "    layers:\n      - 1xfourier1+2x0e\n    latent: 2x0e+1x1e\n": "    channel: 1\n",
    "runs:\n  a:\n": "runs:\n  a:\n  b:\n    model:\n      channel: 3\n",
}


@pytest.fixture(scope="module")
def toy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "toy", "toy_kind")
        yield get_kind("toy")


@pytest.fixture(scope="module")
def trained(toy, make_expt):
    """Both runs, finished; below a folder `expts`, as in a notebook."""
    expt = make_expt(TOY, inside="expts")
    code, stdout, stderr = expt.train()
    assert code == 0, stderr
    assert re.fullmatch(r"(?:[ab]: finished, best validation accuracy 0\.\d{3}\n){2}", stdout)
    return expt


def test_an_unknown_kind_is_told_with_the_nearest_one(make_expt, toy):
    with pytest.raises(UnknownKindError, match="no kind 'vea'; did you mean 'vae'"):
        get_kind("vea")
    expt = make_expt({**TOY, "shared:\n": "shared:\n  kind: tpy\n"})
    with pytest.raises(HparamsError) as error:
        load_hparams(expt.path / "hparams.nt")
    message = "hparams.nt:2:9: kind: expected a kind of model, got 'tpy'; did you mean 'toy'?"
    assert str(error.value).endswith(message)
    assert len(str(error.value).splitlines()) == 1


def test_mistakes_are_told_by_the_keys_of_the_kind(make_expt, toy):
    expt = make_expt({**TOY, "optim:": "loss:\n    beta: 1\n    jitter: -1\n  optim:",
                      "channel: 3": "latent: 1x0e"})  # fmt: skip
    with pytest.raises(HparamsError) as error:
        load_hparams(expt.path / "hparams.nt")
    found = [line.partition("hparams.nt:")[2] for line in str(error.value).splitlines()]
    assert found == [
        "8:5: key 'loss.beta' is unknown; known here: jitter",
        "9:13: loss.jitter: expected a number >= 0, got '-1'",
        "22:7: key 'model.latent' is unknown; known here: channel, teacher",
    ]


def test_kinds_may_differ_within_an_experiment(make_expt, toy):
    model = "  model:\n    layers:\n      - 1xfourier1+2x0e\n    latent: 2x0e+1x1e\n"
    own = "".join(f"  {line}\n" for line in model.splitlines())
    expt = make_expt({model: "", "runs:\n  a:\n": f"runs:\n  a:\n    kind: toy\n  b:\n{own}"})
    runs = load_hparams(expt.path / "hparams.nt")
    assert {name: hparams.kind for name, hparams in runs.items()} == {"a": "toy", "b": "vae"}
    assert runs["a"].loss.jitter == 0.1
    assert runs["b"].loss.beta == 1


def test_plan(make_expt, toy, capsys):
    expt = make_expt(TOY)
    assert run_command(["plan", str(expt.path), "b"]) == 0
    out, _ = capsys.readouterr()
    header, line, *_ = out.splitlines()
    assert header.split() == ["run", "parameters", "steps", "batch", "multiply-adds", "memory",
                              "gap", "time"]  # fmt: skip
    assert re.fullmatch(r"1  b +2 +15 +2 +\S+ +\S+ B +[\d.e-]+ +\d+ s", line)
    assert re.search(r"^line +1 -> 1 +2 ", out, re.MULTILINE)


def test_what_a_run_leaves(trained):
    paths = trained.get_paths("a")
    record = load_record(paths.record)
    assert (record.state, record.num_parameters, record.sizes) == ("finished", 2, {})
    assert record.best.metric == "accuracy"
    assert load_resolved(paths.hparams).kind == "toy"
    assert paths.train_metrics.read_text().startswith("step,epoch,elapsed_s,gap,learning_rate\n")
    assert paths.val_metrics.read_text().startswith("step,epoch,elapsed_s,accuracy\n")
    assert paths.test_metrics.read_text().startswith(f"step,accuracy\n{record.best.step},0.")
    assert not paths.reconstructions.exists()


def test_kill_and_resume(make_expt, trained):
    expt = make_expt(TOY)
    process = expt.start("a")
    process.wait_for("runs/a/val.csv")
    process.kill()
    assert expt.train("a")[0] == 0
    expt.assert_same_run(trained)


def test_list(trained):
    code, stdout, _ = trained.train("--list")
    assert code == 0
    pattern = r"([ab])  finished     15 steps, best validation accuracy 0\.\d{3}"
    assert [re.fullmatch(pattern, line)[1] for line in stdout.splitlines()] == ["a", "b"]


@pytest.fixture
def toy_notebook(trained, monkeypatch):
    notebook = Notebook(trained.path.parents[1])
    notebook.write("conf.py", CONF)
    monkeypatch.chdir(notebook.source)
    return notebook


def test_compare(toy_notebook, capsys):
    assert run_command(["compare", "20240101", "--where", "kind == toy"]) == 0
    out, _ = capsys.readouterr()
    header, *rows = out.splitlines()[:3]
    assert header.split()[:5] == ["run", "last(val.accuracy)", "best(val.accuracy)",
                                  "kind", "model.channel"]  # fmt: skip
    assert sorted(row.split()[0] for row in rows) == ["a", "b"]
    assert run_command(["list"]) == 0
    assert re.search(r"2 finished; best test accuracy 0\.\d{3}\n", capsys.readouterr().out)
    assert run_command(["show", "20240101"]) == 0
    assert capsys.readouterr().out.startswith("run  state     test accuracy  model.channel\n")


def test_pages(toy_notebook):
    toy_notebook.write("index.rst", "Toy\n===\n\n.. runs:: 20240101\n\n.. curves:: 20240101\n\n"
                       "   What was learned.\n\n.. hyperparameters::\n")  # fmt: skip
    warnings, out = toy_notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    head = re.sub(r"<[^>]*>|\s", " ", html[html.index("<thead") : html.index("</thead")]).split()
    assert head[:4] == ["run", "last(val.accuracy)", "best(val.accuracy)", "test.accuracy"]
    assert "&quot;metric&quot;: &quot;val.accuracy&quot;" in html
    assert 'id="confval-model.channel"' in html


def test_a_frozen_input(make_expt, trained, toy):
    """The teacher's weights are known by their hash; a resumed run refuses others."""
    expt = make_expt({}, inside="expts")
    for edit in (TOY, {"  b:\n    model:\n": "  b:\n    model:\n      teacher: 20240101_x/a\n",
                       "  a:\n": "  a:\n    seed: 0\n"},
                 {"steps_per_epoch: 5": "steps_per_epoch: 2"}):  # fmt: skip
        expt.edit(edit)
    code, _, stderr = expt.train("b")
    assert code == 2
    assert "model.teacher: unknown run 'a' of 20240101_x" in stderr
    for args in (["a"], ["b", "--max-steps", "2"], ["b", "--max-steps", "3"]):
        code, _, stderr = expt.train(*args)
        assert code == 0, stderr
    paths = expt.get_paths("b")
    record = load_record(paths.record)
    assert list(record.inputs) == ["model.teacher"]
    assert re.fullmatch(r"[0-9a-f]{64}", record.inputs["model.teacher"])
    assert record.num_parameters == 2  # the teacher's aren't trained

    state = torch.load(expt.get_paths("a").best, weights_only=True)["state_dict"]
    state_b = torch.load(paths.last, weights_only=True)["state_dict"]
    for name in ("weight", "bias"):
        assert torch.equal(state_b[f"model.teacher.line.{name}"], state[f"model.line.{name}"])

    expt.edit({"    seed: 0\n": "    seed: 1\n"})
    assert expt.train("a", "--restart")[0] == 0
    code, _, stderr = expt.train("b")
    assert code == 2
    assert "model.teacher has other weights than when the run started" in stderr
