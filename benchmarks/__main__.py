"""Compare this package with others; run `python -m benchmarks` in the repository's root.

Usage:
    benchmarks <name> [--quick] [--json FILE] [--record]

Arguments:
    <name>       build, devices, diffusion, feed, gates, gpu, grids, layers, notebook, training
                 or voxelize.

Options:
    --quick      Measure fewer and smaller cases; takes about a minute.
    --json FILE  Write the rows there: name, ours, reference, reference_name, ratio, unit, n.
    --record     Write the rows and a description of this machine to benchmarks/records/<name>.json.

The ratio says how many times better ours is.  Ours and the reference are medians of n repeats; the
two take turns.  `make bench-peers` installs escnn, for gpu, grids, layers and training, and exmemo,
for notebook; without them, their rows or columns are left out.
"""

import importlib
import json
import sys
from pathlib import Path

import docopt

from atompaint_vae.text.errors import UserError

from ._machine import OthersWatch, describe_machine

FOLDER = Path(__file__).parent


def list_benchmarks() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("[!_]*.py"))


def format_table(rows: list[dict]) -> str:
    """Return the rows as aligned columns under a heading."""
    cells = [["", "ours", "reference", "", "ratio", "unit", "n"]]
    for row in rows:
        ours, reference, ratio = (
            "" if row[key] is None else f"{row[key]:.3g}" if row[key] < 1000 else f"{row[key]:.0f}"
            for key in ("ours", "reference", "ratio")
        )
        label = row["reference_name"] or ""
        cells.append([row["name"], ours, reference, label, ratio, row["unit"], str(row["n"])])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_text = (True, False, False, True, False, True, False)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, is_text, strict=True)
        ).rstrip()
        for line in cells
    )


def main() -> int:
    arguments = docopt.docopt(__doc__)
    name = arguments["<name>"]
    if name not in list_benchmarks():
        known = ", ".join(list_benchmarks())
        print(f"no benchmark {name!r}; expected one of {known}", file=sys.stderr)
        return 2

    machine, watch = describe_machine(), OthersWatch()
    try:
        rows = importlib.import_module(f"benchmarks.{name}").run(arguments["--quick"])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(format_table(rows))
    if arguments["--json"]:
        Path(arguments["--json"]).write_text(json.dumps(rows, indent=1) + "\n")
    if arguments["--record"]:
        path = FOLDER / "records" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        others = {"processor_share_of_others": watch.measure_share()}
        record = {"benchmark": name, "machine": machine | others, "rows": rows}
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
