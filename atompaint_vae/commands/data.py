"""Fetch structures for training, build a set of them, show a set.

Usage:
    atompaint-vae data build INPUT... --out FILE [--assembly KIND] [--altloc WHICH] [--dir DIR]
                       [--jobs N] [--strict] [--quiet]
    atompaint-vae data show SET [--svg FILE | --no-svg]
    atompaint-vae data fetch IDS [--dir DIR] [--mirror URL] [--jobs N] [--timeout SECONDS]
                       [--attempts N] [--quiet]
    atompaint-vae data (-h | --help)

build reads structure files (mmCIF, PDB, BinaryCIF; compressed or not), splits them by sequence and
writes FILE, and beside it the tables *.structures.csv and *.chains.csv. `data.source` in hparams.nt
names FILE by its path from the experiment's folder, such as ../../structures/mine.parquet. INPUT is
a folder, a file, a pattern such as 'pdb/**/*.cif.gz', or a text file that lists files and PDB ids.
Broken files are reported and left out. For each file, build prints what it guessed and left out;
*.structures.csv has the same numbers. An interrupted build resumes when it is started again.

show prints the contents of a set and draws them, in an SVG file beside the set by default. SET is a
file that build wrote, a database of macromol_gym_unsupervised, or `starter`.

fetch downloads the entries whose ids the text file IDS lists, unless they are already there.

Options:
    --out FILE         The set to write; a name that ends in .parquet.
    --assembly KIND    asymmetric, the atoms in each file; or biological, the first assembly that
                       each file defines. [default: asymmetric]
    --altloc WHICH     first, the first alternate location of each residue; or occupancy, that of
                       the highest mean occupancy. [default: first]
    --dir DIR          fetch: the folder for the files, by default structures. build: the folder
                       with the files of a list, by default that of the list.
    --mirror URL       fetch from here: {id} is the id, {ID} in upper case, {mid} its two middle
                       letters. By default the environment's ATOMPAINT_VAE_MIRROR, else the PDB.
    --jobs N           build: number of processes, by default one per core. fetch: number of
                       connections, by default 4.
    --timeout SECONDS  Time limit for a server's answer. [default: 30]
    --attempts N       Attempts for each file, with increasing pauses. [default: 5]
    --strict           Stop at the first broken file.
    --svg FILE         Draw to this file.
    --no-svg           Print only.
    --quiet            Show no progress bars.

Exit codes: 0 success; 1 some files were left out and reported; 2 failure, nothing was done.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import docopt

from ..text.tables import format_row


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["data", *argv])
    for name in ("build", "show", "fetch"):
        if arguments[name]:
            return globals()[f"run_{name}"](arguments)
    raise AssertionError(arguments)


def run_build(arguments: dict) -> int:
    from ..data.sets.build import Broken, build_set, name_chains_path
    from ..data.sets.inputs import find_structure_files
    from ..data.sets.sources import name_structures_path
    from ..data.sets.summary import describe_reading, describe_unknown
    from ..data.structures.selection import ALTLOCS
    from ..data.structures.table import ASSEMBLIES

    options = {}
    for name, known in (("assembly", ASSEMBLIES), ("altloc", ALTLOCS)):
        options[name] = arguments[f"--{name}"]
        if options[name] not in known:
            raise ValueError(f"--{name}: expected {' or '.join(known)}, got {options[name]!r}")
    num_jobs = _parse_count(arguments, "--jobs", len(os.sched_getaffinity(0)))
    # No default for docopt, as that of fetch isn't that of build.
    folder = Path(arguments["--dir"]) if arguments["--dir"] else None
    paths = find_structure_files(arguments["INPUT"], folder, report=print)
    out = Path(arguments["--out"])

    def report(broken: Broken) -> None:
        # Clear the line of the progress bar.
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{clear}{broken.path}: {broken.reason}", file=sys.stderr)

    built = build_set(
        paths, out, **options, num_jobs=num_jobs, strict=arguments["--strict"],
        progress=_wants_progress(arguments), report=report,
    )  # fmt: skip
    num_files = len(paths)
    print(f"{out}: {len(built.table)} structures, {built.num_atoms:,} atoms")
    for path in (name_structures_path(out), name_chains_path(out)):
        print(f"{path}")
    for line in (*describe_reading(built.table), *describe_split(built)):
        print(line)
    if built.unknown:
        print(describe_unknown(built.unknown))
    if built.broken:
        print(f"{len(built.broken)} of {num_files} files left out", file=sys.stderr)
        return 1
    return 0


def describe_split(built) -> list[str]:
    """Describe the splits of a build, line by line."""
    names = {
        "exact": "every pair aligned", "mmseqs2": "pairs found by MMseqs2, then aligned",
        "k-mers": "pairs found by common k-mers, then aligned",
    }  # fmt: skip
    sizes = built.table.groupby("split").agg(n=("pdb_id", "size"), atoms=("num_atoms", "sum"))
    lines = [
        format_row(
            [split, f"{sizes.n[split]} structures", f"{sizes.atoms[split]:,} atoms"],
            [10, 17, 18], "<>>")
        for split in ("train", "validation", "test")
    ]
    lines += [f"{kind} chains: {names[method]}" for kind, method in built.methods.items()]
    leakage = built.leakage
    worst = f" ({' and '.join(leakage.worst_pair)})" if leakage.worst_pair[0] else ""
    lines.append(
        f"leakage: {leakage.num_pairs} pairs of similar chains in different splits; "
        f"highest identity {leakage.max_identity:.0%} over 80 columns or more{worst}"
    )
    return lines


def run_show(arguments: dict) -> int:
    from ..data import STARTER
    from ..data.sets.summary import describe_set, load_summary

    source = arguments["SET"]
    summary = load_summary(source)
    print(describe_set(summary))
    if not arguments["--no-svg"]:
        from ..figures.structures import plot_summary
        from ..figures.style import save_figure

        default = "starter.svg" if source == STARTER else Path(source).with_suffix(".svg")
        save_figure(plot_summary(summary), Path(arguments["--svg"] or default))
    return 0


def run_fetch(arguments: dict) -> int:
    from ..data.sets.fetch import DEFAULT_MIRROR, fetch_structures
    from ..data.sets.inputs import read_ids

    ids = read_ids(Path(arguments["IDS"]))
    mirror = arguments["--mirror"] or os.environ.get("ATOMPAINT_VAE_MIRROR") or DEFAULT_MIRROR
    folder = Path(arguments["--dir"] or "structures")
    fetched = fetch_structures(
        ids, folder, mirror=mirror,
        num_jobs=_parse_count(arguments, "--jobs", 4),
        timeout_s=_parse_count(arguments, "--timeout", 30),
        num_attempts=_parse_count(arguments, "--attempts", 5),
        progress=_wants_progress(arguments),
    )  # fmt: skip
    for failure in fetched.failures:
        print(f"{failure.pdb_id}: {failure.reason}", file=sys.stderr)
    print(
        f"{folder}: {len(fetched.new)} fetched, {len(fetched.cached)} already there, "
        f"{len(fetched.failures)} failed"
    )
    return 1 if fetched.failures else 0


def _wants_progress(arguments: dict) -> bool:
    return sys.stderr.isatty() and not arguments["--quiet"]


def _parse_count(arguments: dict, name: str, default: int) -> int:
    text = arguments[name]
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise ValueError(f"{name}: expected a whole number >= 1, got {text!r}")
    return int(text)
