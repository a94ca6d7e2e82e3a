import html as html_module
import json
import re

import pytest

from atompaint_vae.notebook.runs import compare, run_data
from atompaint_vae.records.metrics import append_metrics

INDEX = "Index\n=====\n\n.. toctree::\n   :glob:\n\n   *\n\n"
OTHER = "Other\n=====\n\nNo runs here.\n"


@pytest.fixture
def runs_notebook(notebook, write_run):
    expts = notebook.source / "expts"
    write_run(expts / "20250101_x", "wide", {"model.latent": "8x0e"}, tau=2)
    write_run(expts / "20250101_x", "narrow", tau=8, state="interrupted", test=False)
    write_run(expts / "20250202_y", "mean", {"loss.reduction": "mean"}, tau=4)
    notebook.write("index.rst", INDEX)
    notebook.write("other.rst", OTHER)
    return notebook


def write_page(notebook, text, name="page.rst"):
    orphan = ":orphan:\n\n" * name.startswith("expts")
    notebook.write(name, f"{orphan}Page\n====\n\n{text}\n")


def build(notebook, builder="html"):
    warnings, out = notebook.build(builder)
    assert warnings == ""
    return out


def read_table(html):
    rows = re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    cells = [re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"<[^>]*>|\n", "", cell) for cell in row] for row in cells]


def list_rebuilt(notebook):
    """The pages that the last build read."""
    status = re.sub(r"\x1b\[[\d;]*m", "", notebook.status)  # colours
    return set(re.findall(r"reading sources\.\.\. \[[ \d]+%\] ([\w/]+)", status))


def test_table_of_runs(runs_notebook):
    write_page(runs_notebook, ".. runs:: 20250101\n\n   The *runs*.")
    html = (build(runs_notebook) / "page.html").read_text("utf-8")
    header, *rows = read_table(html)
    assert header == [
        "run", "last(val.r2)", "best(val.r2)", "test.r2", "model.latent", "state", "duration [min]"
    ]  # fmt: skip
    assert rows == [
        ["wide", "1.000", "1.000", "1.000", "8x0e", "finished", "20.0"],
        ["narrow", "0.9179", "0.9179", "", "2x0e", "interrupted", "20.0"],
    ]
    assert "The <em>runs</em>." in html


@pytest.mark.parametrize("metric", ["val.r2", "val.loss", "test.r2"])
def test_the_best_run_is_first_and_one_without_the_metric_last(runs_notebook, metric):
    write_page(runs_notebook, f".. runs:: 20250101 20250202\n   :metrics: {metric}\n")
    header, *rows = read_table((build(runs_notebook) / "page.html").read_text("utf-8"))
    assert [row[header.index("run")] for row in rows] == ["wide", "mean", "narrow"]


def test_names_of_runs_lead_to_the_sheet(runs_notebook, write_run):
    write_run(runs_notebook.source / "expts/20250101_x", "β = 1, no_2")
    write_page(runs_notebook, ".. runs:: 20250101")
    out = build(runs_notebook)
    table = (out / "page.html").read_text("utf-8")
    links = re.findall(r'sheet.html#([^"]+)"><span>(.+?)</span></a>', table)
    names = [name for _, name in links]
    assert sorted(names) == ["narrow", "wide", "β = 1, no_2"]
    sheet = (out / "expts/20250101_x/sheet.html").read_text("utf-8")
    rows = re.findall(r'<tr.*?<span class="target" id="([^"]+)"></span>(.+?)</p>', sheet)
    assert sorted(rows) == sorted(links)


def test_names_of_runs_without_sheets_are_no_links(runs_notebook):
    with (runs_notebook.source / "conf.py").open("a") as conf:
        conf.write('exclude_patterns = ["**/sheet.rst"]\nnitpicky = True\n')
    write_page(runs_notebook, ".. runs:: 20250101")
    html = (build(runs_notebook) / "page.html").read_text("utf-8")
    assert [row[0] for row in read_table(html)] == ["run", "wide", "narrow"]
    assert "sheet.html" not in html


def test_names_of_runs_lead_to_the_sheet_in_print(runs_notebook):
    write_page(runs_notebook, ".. runs:: 20250101")
    write_page(runs_notebook, "No more.", "expts/20250101_x/notes.rst")
    (path,) = build(runs_notebook, "latex").glob("*.tex")
    contents, _, appendix = path.read_text("utf-8").partition("\\appendix")
    label = r"\detokenize{expts/20250101_x/sheet:run-wide}"
    assert rf"\hyperref[{label}]" in contents
    assert rf"\label{{{label}}}" in appendix


def test_trials_of_a_search_are_runs(runs_notebook, write_run):
    folder = runs_notebook.source / "expts/20250303_search"
    (folder / "runs").mkdir(parents=True)
    (folder / "hparams.nt").write_text(
        "shared:\n  model:\n    {layers: [2x0e], latent: 2x0e}\n  train:\n"
        "    {epochs: 20, steps_per_epoch: 10}\nsearch:\n  trials: 3\n  space:\n"
        "    loss.beta:\n      low: 0.1\n      high: 9\n"
    )
    (folder / "trials.nt").write_text(
        "trial-000:\n  loss:\n    beta: 0.25\ntrial-001:\n  loss:\n    beta: 4\n"
        "trial-002:\n  loss:\n    beta: 7\n  infeasible: the reason\n"
    )
    write_run(folder, "trial-000", {"loss.beta": 0.25}, tau=2)
    write_run(folder, "trial-001", {"loss.beta": 4}, state="pruned", test=False, error="worse")
    write_page(runs_notebook, ".. runs:: 20250303\n\n.. curves:: 20250303\n")
    runs_notebook.write("expts/20250303_search/sheet.rst", "Sheet\n=====\n\n.. runsheet::\n")
    runs_notebook.write("index.rst", f"{INDEX}   expts/20250303_search/sheet\n")
    out = build(runs_notebook)
    header, *rows = read_table((out / "page.html").read_text("utf-8"))
    assert [header[i] for i in (0, 4, 5)] == ["run", "loss.beta", "state"]
    assert [[row[i] for i in (0, 4, 5)] for row in rows] == [
        ["trial-000", "0.25", "finished"], ["trial-001", "4", "pruned"]
    ]  # fmt: skip
    sheet = re.sub(r"<.*?>", "", (out / "expts/20250303_search/sheet.html").read_text("utf-8"))
    assert "infeasible" in sheet
    assert "the reason" in sheet
    assert "pruned" in sheet


def test_options_of_the_table(runs_notebook):
    text = (
        ".. runs:: all\n   :where: best(val.r2) > 0.95\n   :metrics: train.loss\n"
        "   :hparams: seed optim.learning_rate\n   :name: table\n"
    )
    write_page(runs_notebook, text)
    html = (build(runs_notebook) / "page.html").read_text("utf-8")
    header, *rows = read_table(html)
    assert header[:6] == [
        "experiment", "run", "last(train.loss)", "best(train.loss)", "seed", "optim.learning_rate"
    ]  # fmt: skip
    assert [row[:2] for row in rows] == [["20250101_x", "wide"], ["20250202_y", "mean"]]
    assert "their losses are on different scales" in html
    assert 'id="table"' in html


def test_a_page_in_an_experiments_folder_shows_its_own_runs(runs_notebook):
    write_page(runs_notebook, ".. runs::", "expts/20250202_y/notes.rst")
    html = (build(runs_notebook) / "expts/20250202_y/notes.html").read_text("utf-8")
    assert [row[0] for row in read_table(html)] == ["run", "mean"]


def test_runs_of_a_pages_own_experiment_need_no_prefix(runs_notebook, write_run):
    text = "It is :metric:`mean test.r2 .3f`.\n\n.. runs:: mean 20250101/wide"
    write_page(runs_notebook, text, "expts/20250202_y/notes.rst")
    html = (build(runs_notebook) / "expts/20250202_y/notes.html").read_text("utf-8")
    assert re.findall(r'"run-metric" title="[^"]+">(.*?)<', html) == ["0.993"]
    assert [row[1] for row in read_table(html)] == ["run", "wide", "mean"]
    write_page(runs_notebook, text, "page.rst")
    warnings = runs_notebook.build()[0]
    assert warnings.count("write experiment/run, for example 20250202_y/mean") == 2


def test_a_notebook_of_ones_own_has_no_folder_expts(notebook, write_run):
    notebook.write("index.rst", INDEX)
    write_run(notebook.source / "titrate/03_vary_salt", "a")
    (notebook.source / "other/runs/5").mkdir(parents=True)  # of another program
    (notebook.source / "venv").mkdir()
    (notebook.source / "venv/pyvenv.cfg").touch()
    write_run(notebook.source / "venv/20250101_x", "b")
    text = ".. runs::\n\nIt is :metric:`a test.r2 .2f`."
    write_page(notebook, text, "titrate/03_vary_salt/notes.rst")
    write_page(notebook, ".. runs:: vary_salt\n\n.. runs:: 3/a\n\n.. compare::")
    out = build(notebook)
    html = (out / "titrate/03_vary_salt/notes.html").read_text("utf-8")
    assert "It is <span" in html and "0.98</span>" in html
    assert 'href="sheet.html#run-a"' in html
    html = (out / "page.html").read_text("utf-8")
    assert [row[0] for row in read_table(html)] == ["run", "a", "run", "a", "experiment",
                                                    "titrate/03_vary_salt"]  # fmt: skip
    assert 'href="titrate/03_vary_salt/sheet.html#run-a"' in html
    found = sorted(x.parent.name for x in notebook.source.rglob("sheet.rst"))
    assert found == ["03_vary_salt"]


NUMBERS = [
    ("20250101/wide test.r2 .3f", "1.000"),
    ("20250101_x/wide best(val.r2)", "0.999955"),
    ("20250101/wide compression_ratio .1f", "10.5"),
    ("20250202/mean train.loss@step=20 ,.2f", "60.65"),  # 100 exp(-2 / 4)
    ("20250202/mean val.r2@epoch=4 .0%", "63%"),  # 1 - 1/e
    ("20250101/narrow model.latent", "2x0e"),
]


def test_numbers_of_records_in_the_prose(runs_notebook):
    text = "\n\n".join(f"It is :metric:`{role}`." for role, _ in NUMBERS)
    write_page(runs_notebook, text)
    html = (build(runs_notebook) / "page.html").read_text("utf-8")
    found = re.findall(r'It is <span class="run-metric" title="[^"]+">(.*?)</span>', html)
    assert found == [expected for _, expected in NUMBERS]


def test_negative_numbers_have_a_minus(runs_notebook, write_run):
    paths = write_run(runs_notebook.source / "expts/20250303_z", "a")
    row = {"step": 300, "epoch": 30.0, "elapsed_s": 1.0, "loss": 7.0, "r2": -0.25}
    append_metrics(paths.val_metrics, row)
    write_page(runs_notebook, "It is :metric:`20250303/a last(val.r2) .2f`.")
    assert "It is −0.25." in (build(runs_notebook, "text") / "page.txt").read_text("utf-8")


MISTAKES = [
    (":metric:`20250101/wide`", "metric: expected 'experiment/run property format', such as "),
    (":metric:`20250101 test.r2`", "metric: '20250101' is not one run, but 2: 20250101_x/na"),
    (":metric:`20250109/a test.r2`", "metric: unknown experiment '20250109'; did you mean "),
    (":metric:`20250101/wid test.r2`", "unknown run 'wid' of 20250101_x; did you mean 'wide'?"),
    (":metric:`20250101/wide test.r3`", "20250101_x/wide: unknown property 'test.r3'; did you"),
    (":metric:`20250101/wide test.r2 .3q`", "which can't be formatted with '.3q'"),
    (":metric:`20250101/wide val.r2@step=7`", "val.csv has no row of step 7; there: 10 to 200"),
    (".. runs:: 20250109", "runs: unknown experiment '20250109'; did you mean '20250101_x'?"),
    (".. runs::", "runs: no experiment is named, and the page isn't in the folder of one"),
    (".. runs:: all\n   :where: seed >", "runs: column 7: expected a value, got the end"),
    (".. runs:: all\n   :where: seed > 7", "runs: all: :where: matches none of 3 runs; nearest s"),
    (".. runs:: all\n   :metrics: val.r3", "runs: unknown metric 'val.r3'; did you mean 'v"),
    (".. runs:: all\n   :hparams: sed", "runs: unknown property 'sed'; did you mean 'seed'?"),
    (".. curves:: all\n   :metric: test.r2", "curves: no curve of 'test.r2'; known: val.loss"),
    (".. curves:: all\n   :smooth: 2", "expected a weight from 0 to below 1, got '2'"),
    (".. curves:: all\n   :log: z", '"z" unknown; choose from "x", or "y"'),
    (".. curves:: all\n   :x: time", '"time" unknown; choose from "epoch", "step", or "elapse'),
    (".. compare:: 20250109", "compare: unknown experiment '20250109'; did you mean"),
]


def test_mistakes_are_warnings_at_their_line(runs_notebook):
    for i, (text, _) in enumerate(MISTAKES):
        write_page(runs_notebook, text, f"page{i}.rst")
    warnings, _ = runs_notebook.build()
    warnings = re.sub(r"\x1b\[[\d;]*m", "", warnings)
    assert "Traceback" not in warnings
    for i, (text, message) in enumerate(MISTAKES):
        found = re.findall(rf"page{i}\.rst:4: (.*(?:\n[^/].*)*)", warnings)
        assert len(found) == 1, (text, found)
        assert message in found[0], (text, found[0])


def test_a_run_that_cant_be_read_hides_no_other(runs_notebook):
    folder = runs_notebook.source / "expts/20250101_x/runs"
    record = folder / "wide/record.nt"
    record.write_text(record.read_text("utf-8").replace("finished", "done", 1), "utf-8")
    metrics = (
        "It is :metric:`20250101/wide test.r2 .2f`, :metric:`20250101/narrow best(val.r2) .2f`."
    )
    for i in range(8):  # in several processes
        write_page(runs_notebook, f"{metrics}\n\n{PAGE}", f"page{i}.rst")
    warnings, out = runs_notebook.build()
    (warning,) = warnings.splitlines()
    damage = "state: expected "
    assert f"{record}:3:8: WARNING: {damage}" in warning
    html = html_module.unescape((out / "page0.html").read_text("utf-8"))
    assert ">1.00<" in html and ">0.92<" in html
    table = read_table(html)
    assert ["narrow", "0.9179", "0.9179", "", "interrupted", "20.0"] in table
    assert ["wide", "1.000", "1.000", "1.000", "unreadable", ""] in table
    assert html.count(f"20250101_x/wide can't be read: record.nt:3:8: {damage}") == 2
    data = (out / "_static/runs/20250101_x/wide.js").read_text("utf-8")
    assert '"state":"unreadable"' in data
    # What the damaged file would say is a mistake at the page's line.
    write_page(runs_notebook, ":metric:`20250101/wide compression_ratio`")
    warnings, _ = runs_notebook.build()
    assert "page.rst:4: WARNING: metric: 20250101_x/wide: compression_ratio can't be " in warnings


@pytest.mark.parametrize(
    "name, content, damage",
    [
        ("val.csv", b"\xff\x00\n1,2\n", "val.csv:1: WARNING: no column 'step'"),
        ("val.csv", b"step,epoch,elapsed_s,r2\n1,1,1,o.1\n", "val.csv:2: WARNING: r2: expected a"),
        ("val.csv", b"step,epoch,elapsed_s,r2\n1,,1,0.1\n", "val.csv:2: WARNING: epoch: expected"),
        ("val.csv", b"step,r2\n1,0.1\n", "val.csv:1: WARNING: no column 'epoch'"),
        ("val.csv", b"step,r2\n1,0.1,3\n", "val.csv:2: WARNING: expected 2 cells, got 3"),
        ("record.nt", b"", "record.nt:1:1: WARNING: the file is empty"),
        ("train.csv", None, "train.csv:1: WARNING: is a directory"),
        ("hparams.nt", b"model: 7\n", "hparams.nt:1:1: WARNING: train.epochs is missing (and"),
    ],
)
def test_damage_is_a_warning_at_its_line(runs_notebook, name, content, damage):
    path = runs_notebook.source / "expts/20250101_x/runs/narrow" / name
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    options = "   :metric: train.loss\n   :seeds:\n   :smooth: 0.5\n   :x: elapsed"
    write_page(runs_notebook, f".. runs:: all\n\n.. curves:: all\n{options}\n\n.. compare:: all\n")
    warnings, out = runs_notebook.build()
    warnings = warnings.splitlines()
    assert len(warnings) == 1, warnings
    assert damage in warnings[0]
    rows = read_table((out / "page.html").read_text("utf-8"))
    assert [row[1] for row in rows if row[-2] == "finished"].count("wide") >= 2
    assert [row[1] for row in rows if row[-2] == "unreadable"].count("narrow") >= 2


def test_curves_and_their_data(runs_notebook):
    options = ":metric: train.loss\n   :log: y\n   :smooth: 0.6"
    write_page(runs_notebook, f".. curves:: 20250101\n   {options}\n\n   Caption.")
    out = build(runs_notebook)
    html = (out / "page.html").read_text("utf-8")
    options = json.loads(
        re.search(r'data-options="(.*?)"', html)[1].replace("&quot;", '"').replace("&#64;", "@")
    )
    assert options == {
        "runs": ["20250101_x/narrow", "20250101_x/wide"], "metric": "train.loss", "x": "epoch",
        "logx": False, "logy": True, "smooth": 0.6, "seeds": False,
    }  # fmt: skip
    picture = re.search(r'<noscript><img alt="[^"]*" src="(_images/curves-\w+\.svg)"', html)[1]
    assert "<!-- train.loss -->" in (out / picture).read_text("utf-8")
    for script in ("run_schema.js", "uplot.js", "runs.js", "curves.js"):
        assert f"_static/{script}" in html
        assert (out / "_static" / script).is_file()
    assert "uplot.js" not in (out / "other.html").read_text("utf-8")
    data = (out / "_static/runs/20250101_x/narrow.js").read_text("utf-8")
    run = json.loads(data.splitlines()[1].partition("]=")[2].rstrip(";"))
    assert run["properties"]["model.latent"] == "2x0e"
    assert run["tables"]["val"]["epoch"] == [float(x) for x in range(1, 21)]
    assert not (out / "_static/runs/20250202_y").exists()


def test_long_tables_are_thinned(runs_notebook, monkeypatch):
    monkeypatch.setattr(run_data, "MAX_ROWS", 15)
    write_page(runs_notebook, ".. curves:: 20250101/wide")
    data = (build(runs_notebook) / "_static/runs/20250101_x/wide.js").read_text("utf-8")
    run = json.loads(data.splitlines()[1].partition("]=")[2].rstrip(";"))
    assert run["every"] == 3
    assert run["tables"]["train"]["step"] == [*range(5, 200, 15), 200]


def test_what_json_lacks():
    text = run_data.dump_json({"a": [float("nan"), float("inf"), 1.5], "b": "</script>"})
    assert text == '{"a":[null,null,1.5],"b":"<\\/script>"}'


PAGE = ".. runs:: 20250101\n\n.. curves:: 20250101\n\n   Caption.\n\n.. compare::\n"


def test_text_has_tables_of_the_last_values(runs_notebook):
    write_page(runs_notebook, PAGE)
    text = (build(runs_notebook, "text") / "page.txt").read_text("utf-8")
    assert text.count("0.9179") == 6  # last and best, in each of three tables
    assert "Caption." in text


def test_latex_has_a_picture(runs_notebook):
    write_page(runs_notebook, PAGE)
    out = build(runs_notebook, "latex")
    (path,) = out.glob("*.tex")
    assert r"\sphinxincludegraphics{{curves-" in path.read_text("utf-8")
    (picture,) = out.glob("curves-*.pdf")
    assert picture.read_bytes().startswith(b"%PDF")


def test_a_changed_record_rebuilds_the_pages_that_show_it_and_no_other(runs_notebook):
    write_page(runs_notebook, ".. runs:: 20250101", "table.rst")
    write_page(runs_notebook, ".. curves:: 20250202", "curves.rst")
    write_page(runs_notebook, "It is :metric:`20250101/wide last(val.r2)`.", "prose.rst")
    write_page(runs_notebook, ".. compare::", "compare.rst")
    build(runs_notebook)
    build(runs_notebook)
    assert list_rebuilt(runs_notebook) == set()

    row = {"step": 300, "epoch": 30.0, "elapsed_s": 1.0, "loss": 7.0, "r2": 0.25}
    append_metrics(runs_notebook.source / "expts/20250101_x/runs/wide/val.csv", row)
    out = build(runs_notebook)
    assert list_rebuilt(runs_notebook) == {"index", "table", "prose", "compare"}
    assert "It is" in (out / "prose.html").read_text("utf-8")
    assert ">0.25<" in (out / "prose.html").read_text("utf-8")
    assert '"last(val.r2)":0.25' in (out / "_static/runs/20250101_x/wide.js").read_text("utf-8")


def test_a_new_run_and_a_new_file_rebuild_the_pages_that_show_them(runs_notebook, write_run):
    write_page(runs_notebook, ".. runs:: 20250101", "table.rst")
    write_page(runs_notebook, ".. curves:: 20250202", "curves.rst")
    build(runs_notebook)
    write_run(runs_notebook.source / "expts/20250101_x", "third")
    html = (build(runs_notebook) / "table.html").read_text("utf-8")
    assert list_rebuilt(runs_notebook) == {"index", "table", "expts/20250101_x/sheet"}
    assert "third" in html
    test = runs_notebook.source / "expts/20250101_x/runs/narrow/test.csv"
    append_metrics(test, {"step": 200, "r2": 0.125})
    html = (build(runs_notebook) / "table.html").read_text("utf-8")
    assert list_rebuilt(runs_notebook) == {"index", "table", "expts/20250101_x/sheet"}
    assert "0.125" in html


def test_an_experiment_that_comes_later_heals_the_page(runs_notebook, write_run):
    write_page(runs_notebook, ".. runs:: 20250303")
    assert "unknown experiment" in runs_notebook.build()[0]
    write_run(runs_notebook.source / "expts/20250303_z", "a")
    build(runs_notebook)
    assert list_rebuilt(runs_notebook) == {"page", "index", "expts/20250303_z/sheet"}


def test_the_plain_table_to_compare_has_the_newest_runs(runs_notebook, monkeypatch):
    monkeypatch.setattr(compare, "MAX_PLAIN", 2)
    write_page(runs_notebook, ".. compare::")
    html = (build(runs_notebook) / "page.html").read_text("utf-8")
    assert [row[1] for row in read_table(html)] == ["run", "wide", "mean"]
    assert "The newest 2 of 3 runs." in html


def test_a_notebook_without_runs_has_nothing_to_compare(notebook, write_run):
    notebook.write("index.rst", "Index\n=====\n\n.. compare::\n")
    assert "No run has a record yet." in (build(notebook) / "index.html").read_text("utf-8")
    write_run(notebook.source / "expts/20250101_x", "a")
    table = read_table((build(notebook) / "index.html").read_text("utf-8"))
    assert [row[1] for row in table] == ["run", "a"]
