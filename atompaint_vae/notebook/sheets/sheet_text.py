"""What a run sheet says of runs, as lines of reStructuredText."""

import re
import shlex
from collections.abc import Iterable
from datetime import timedelta

from ...models.kind import get_symbol, list_kinds
from ...records.record import UNREADABLE, RunRecord
from ...text.formats import format_size, name_size


def make_section(title: str, lines: list[str]) -> list[str]:
    return [title, len(title) * "=", "", *lines, ""] if lines else []


def make_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    options = ("header-rows: 1", "widths: auto", "class: sheet-table")
    lines = [".. list-table::", *(f"   :{option}" for option in options), ""]
    for row in (header, *rows):
        first, *others = map(quote, row)
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return [*lines, ""]


def quote(text: str) -> str:
    """Text that reStructuredText shows as it is."""
    return re.sub(r"([^\w\s]|_)", r"\\\1", re.sub(r"\s+", " ", text))


def write_name(name: str) -> str:
    """A file's name in the font of code, where reStructuredText can."""
    return quote(name) if "`" in name else f"``{name}``"


def make_runs_table(records: dict[str, RunRecord | None], damages: dict[str, str]) -> list[str]:
    if not records and not damages:
        return []
    known = [record for record in records.values() if record]
    metrics = dict.fromkeys(x.best.metric for x in known if x.best)
    metrics = list(metrics) or [list_kinds()[0].best.name]
    sizes = sorted({key for record in known for key in record.sizes})
    header = ["run", "state", f"best validation {' or '.join(map(get_symbol, metrics))}",
              *map(name_size, sizes), "parameters", "began", "duration", "commit",
              "machine"]  # fmt: skip
    blank = (len(header) - 2) * [""]
    rows = [
        [name, *(describe_record(record, sizes) if record else ["planned", *blank])]
        for name, record in records.items()
    ]
    rows += [[name, f"{UNREADABLE}: {x}", *blank] for name, x in damages.items()]
    lines = make_table(header, rows)
    if any(record and record.sessions and record.sessions[-1].git_dirty
           for record in records.values()):  # fmt: skip
        lines += ["A commit with a \\+ had changes that were not committed.", ""]
    return lines


def describe_record(record: RunRecord, sizes: list[str]) -> list[str]:
    """Return the cells of a run, of which `sizes` have columns."""
    first, last = (record.sessions[0], record.sessions[-1]) if record.sessions else (None, None)
    times = [s.ended - s.started for s in record.sessions if s.ended]
    return [
        record.state + (f": {last.error}" if last and last.error else ""),
        "" if record.best is None else f"{record.best.value:.3f}",
        *(format_size(key, record.sizes[key]).rstrip("×!") if key in record.sizes else ""
          for key in sizes),
        "" if record.num_parameters is None else f"{record.num_parameters:,}",
        f"{first.started:%Y-%m-%d}" if first else "",
        describe_duration(sum(times, timedelta())) if times else "",
        describe_commit(last) if last else "",
        f"{last.device}; torch {last.versions.get('torch', '?')}" if last else "",
    ]


def describe_duration(time: timedelta) -> str:
    minutes, seconds = divmod(round(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def describe_commit(session) -> str:
    commit = session.git_commit[:7] if session.git_commit else "none"
    return commit + ("+" if session.git_dirty else "")


def round_number(number: float) -> str:
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e12 else f"{number:.4g}"


def make_redo(path: str, records: dict[str, RunRecord | None], commands: list[str]) -> list[str]:
    """The commands that train each run again, at its commit, and draw."""
    runs = {}
    for run, record in records.items():
        session = record.sessions[-1] if record and record.sessions else None
        runs.setdefault(session.git_commit if session else None, []).append(run)
    lines = []
    for commit, names in runs.items():
        block = [shlex.join(["./train.py", *names])]
        if commit is None:
            cd = shlex.join(["cd", path])
            lines += ["Train what isn't finished:", "", *make_block([cd, *block])]
            continue
        copy = f"../{path.rpartition('/')[2]}_{commit[:7]}"
        block = [
            shlex.join(["git", "worktree", "add", copy, commit]),
            shlex.join(["cd", f"{copy}/{path}"]),
            shlex.join(["rm", "-rf", *(f"runs/{x}" for x in names)]),
            *block,
        ]
        runs_text = ", ".join(map(quote, names))
        lines += [f"Train {runs_text} again, in a copy of the notebook as it was:", ""]
        lines += make_block(block)
    if commands:
        block = [shlex.join(["cd", path]), *(f"./{command}" for command in commands)]
        lines += ["Draw again, from the records:", "", *make_block(block)]
    return lines


def make_block(lines: list[str]) -> list[str]:
    return [".. code-block:: sh", "", *(f"   {line}" for line in lines), ""]
