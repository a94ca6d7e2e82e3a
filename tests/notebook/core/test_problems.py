"""Whatever stands in a page is a warning at its line, and the rest of the page is there."""

import csv
import re
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq

LONG = "x" * 5000

# Markup, and how the warning begins.
CASES = [
    *[
        (f".. datatable:: {name}", f"datatable: {message}")
        for name, message in [
            ("empty.csv", "empty.csv: empty; expected a row of column names"),
            ("blank.csv", "blank.csv: empty; expected a row of column names"),
            ("latin.csv", "latin.csv: not UTF-8 at byte 2"),
            ("quote.csv", "quote.csv:2: unexpected end of data"),
            ("long.csv", "long.csv:2: field larger than field limit"),
            ("folder.csv", "folder.csv: a folder; expected a file"),
            ("x.csv\n   A caption.", "expected an empty line between 'x.csv' and 'A caption.'"),
            ("noext", "noext: unknown kind of table ''; known: .csv, .tsv"),
            ("text.nt", "text.nt:1: expected a list of lists, or of dictionaries"),
            ("keys.nt", "keys.nt:1: expected a list, of lists or of dictionaries"),
            ("none.nt", "none.nt: empty; expected a row of column names"),
            ("nokeys.nt", "nokeys.nt: empty; expected a row of column names"),
            ("garbage.ods", "garbage.ods: not a readable spreadsheet"),
            ("other.ods", "other.ods: not a readable spreadsheet"),
            ("other.xlsx", "other.xlsx: not a readable spreadsheet"),
            ("far.parquet", "far.parquet: a value can't be shown: date value out of range"),
            ("garbage.parquet", "garbage.parquet: not a readable Parquet file"),
            ("../../etc/passwd", "no such file: passwd"),
            ("pointer.csv", "pointer.csv: only a Git LFS pointer; git lfs pull fetches the file"),
            ("pointer.xlsx", "pointer.xlsx: only a git-annex pointer; git annex get"),
            ("link.csv", "link.csv: a broken link"),
            (f"{LONG}.csv", LONG[:200]),
            ("x.csv\n   :nope", "expected an empty line between 'x.csv' and ':nope'"),
            ('x.csv\n   :columns: "', "x.csv: no column names in '\"'"),
            ("x.csv\n   :format: a: 9999999999d", "x.csv: bad format '9999999999d'"),
            ("x.csv\n   :range: AAAAAAAAA1", "x.csv: range 'AAAAAAAAA1' extends beyond the table"),
        ]
    ],
    (".. runs:: all zz", "runs: unknown experiment 'all'"),
    (f".. runs:: {LONG}", "runs: unknown experiment 'xxx"),
    (".. runs:: all\n   :where: " + 3000 * "(", "runs: column 1: too many nested"),
    (".. runs:: all\n   :where: " + 3000 * "not ", "runs: column 1: too many nested"),
    (".. runs:: all\n\n   - a list", "runs: the caption must begin with a paragraph"),
    (".. curves:: all\n   :log:", "curves: option 'log': argument required but none supplied"),
    (".. curves:: all\n   :smooth: nan", "option 'smooth': expected a weight from 0 to below 1, g"),
    (
        ".. runs:: all\n   :wher: seed > 7\n   :metric: val.r2",
        "runs: unknown options 'wher' and 'metric'; known: where, metrics, hparams, name",
    ),
    (
        ".. curves:: all\n   :x: time\n   :log: z\n   :colour: red",
        "curves: unknown option 'colour'; known: where, metric, x, log, smooth, seeds, name; "
        'option \'x\': "time" unknown; choose from "epoch", "step", or "elapsed"; option \'log\': ',
    ),
    (".. video:: x.csv\n   :width: 3", "video: unknown option 'width'; known: name"),
    (".. curves:: all\n\n   - a list", "curves: the caption must begin with a paragraph"),
    (".. compare:: all\n   :where: x", "compare: unknown experiment 'all'"),
    (".. video:: ..", "video: no such file: .."),
    (".. video:: x.csv\n   A caption.", "video: expected an empty line between 'x.csv'"),
    (".. video:: pointer.mp4", "video: pointer.mp4: only a Git LFS pointer"),
    (".. video:: link.csv", "video: link.csv: a broken link"),
    (".. video:: folder.csv", "video: no such file: folder.csv"),
    (".. video:: x.csv\n\n   - a list", "video: the caption must begin with a paragraph"),
    (f".. reconstruction:: {LONG}", "reconstruction: "),
    (".. reconstruction:: ..", "reconstruction: "),
    (".. modules:: no.such", "modules: no modules found in package 'no.such'"),
    (".. modules:: os.path", "modules: no modules found in package 'os.path'"),
    (f":metric:`{LONG}`", "metric: expected 'experiment/run property format'"),
    (":metric:`20250101/a test.r2 999999999d`", "metric: test.r2 is 0.9"),
    (":metric:`20250101/a run .2f`", "metric: run is 'a', which can't be formatted with '.2f'"),
    (":metric:`20250101/a val.loss@step=10 .2f`", "metric: 20250101_x/a: val.loss is blank at"),
    (f"$\\foo {LONG}$", "math: unknown command"),
    (f"${2000 * '{'}{2000 * '}'}$", "math: RecursionError"),
]


def write_files(root):
    for name, content in {
        "x.csv": b"a,b\n1,2\n", "empty.csv": b"", "blank.csv": b"\n\n", "noext": b"a",
        "latin.csv": "a\nä\n".encode("latin1"), "quote.csv": b'a,b\n"1,2\n',
        "long.csv": b"a\n" + b"x" * (csv.field_size_limit() + 1) + b"\n",
        "text.nt": b"- a\n- b\n", "keys.nt": b"a: b\n", "none.nt": b"[]\n",
        "nokeys.nt": b"-\n  {}\n",
        "garbage.ods": b"PK\x03\x04garbage", "garbage.parquet": b"PAR1garbagePAR1",
    }.items():  # fmt: skip
        (root / name).write_bytes(content)
    (root / "folder.csv").mkdir()
    (root / "pointer.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (root / "pointer.xlsx").write_text("/annex/objects/SHA256E-s9--0.xlsx\n")
    (root / "pointer.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (root / "link.csv").symlink_to(".git/annex/objects/nowhere")
    far = pa.table({"when": pa.array([2**63 - 1], pa.timestamp("us"))})
    pq.write_table(far, root / "far.parquet")
    for name, member in {"other.ods": "x", "other.xlsx": "x"}.items():
        with zipfile.ZipFile(root / name, "w") as archive:
            archive.writestr(member, "<a/>")


def test_what_is_wrong_with_a_page_is_a_warning_at_its_line(notebook, write_run):
    root = notebook.source
    paths = write_run(root / "expts/20250101_x", "a")
    text = paths.val_metrics.read_text()
    row = text.splitlines()[1].split(",")
    row[text.splitlines()[0].split(",").index("loss")] = ""
    paths.val_metrics.write_text("\n".join([text.splitlines()[0], ",".join(row)]) + "\n")
    write_files(root)
    notebook.write("index.rst", "Index\n=====\n")
    for i, (markup, _) in enumerate(CASES):
        page = f":orphan:\n\nPage\n====\n\nBefore.\n\n{markup}\n\nAfter.\n"
        notebook.write(f"page{i}.rst", page)
    warnings, out = notebook.build()
    warnings = re.sub(r"\x1b\[[\d;]*m", "", warnings)
    for i, (markup, message) in enumerate(CASES):
        found = re.findall(rf"page{i}\.rst:8: (?:WARNING|ERROR): (.*(?:\n[^/].*)?)", warnings)
        assert len(found) == 1, (markup[:80], found)
        assert message in found[0], (markup[:80], found[0])
        assert len(found[0].splitlines()[0]) < 400, markup[:80]
        html = (out / f"page{i}.html").read_text("utf-8")
        assert "Before." in html and "After." in html, markup[:80]
