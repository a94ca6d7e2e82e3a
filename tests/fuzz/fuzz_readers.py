"""Feed damaged and invented files to the readers, until the time is over.

Usage:
    fuzz_readers.py [--seconds N] [--seed N]

Whatever the bytes are, a reader must return atoms or raise StructureError with one line that names
the file; `data build` must exit with 0, 1 or 2 and leave either a whole set or none. The seed of
each case is printed if it fails, and the file is kept.

Options:
    --seconds N  How long. [default: 60]
    --seed N     Of the first case; each next one is one higher. [default: 0]
"""

import contextlib
import gzip
import io
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from docopt import docopt

from atompaint_vae.cli import run_command
from atompaint_vae.data.structures.table import (
    StructureError,
    load_atoms,
    read_entry,
    write_atoms,
)

FILES = Path(__file__).parents[1] / "data" / "structures" / "files"
WORDS = (
    b"nan", b"inf", b"-inf", b"1e308", b"-1e999", b"?", b".", b"'", b'"', b"\n;", b"loop_\n",
    b"data_\n", b"\x00", b"\xff\xfe", b"_atom_site.id\n",
    b"ATOM  ", b"HETATM", b"MODEL", b"ENDMDL\n",
    b"A0000", b"zzzz", b"-999", b"99999999999999999999", b"Xx", b"\r", b"  ", b"_", b"#",
    b"\xc3\xa9",
)  # fmt: skip


def main() -> None:
    arguments = docopt(__doc__)
    end_s = time.monotonic() + float(arguments["--seconds"])
    outcomes: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        seeds = make_seeds(Path(folder))
        seed = int(arguments["--seed"])
        while time.monotonic() < end_s:
            case = Path(folder) / "case"
            try:
                outcomes[run_case(seed, seeds, case)] += 1
            except BaseException:
                kept = Path(tempfile.mkdtemp(prefix="fuzz_"))
                for path in Path(folder).glob("case*"):
                    if path.is_file():
                        path.replace(kept / path.name)
                print(f"seed {seed} failed; the file is in {kept}", file=sys.stderr)
                raise
            seed += 1
    for outcome, num in outcomes.most_common(40):
        print(f"{num:7}  {outcome}")
    print(f"{outcomes.total():7}  cases")


def make_seeds(folder: Path) -> list[tuple[str, bytes]]:
    """A suffix and sound content of each format."""
    cif, bcif = (FILES / f"small{suffix}" for suffix in (".cif", ".bcif"))
    write_atoms(read_entry(cif).atoms, folder / "small.parquet")
    pdb = b"".join(
        b"ATOM  %5d  CA  GLY A%4d    %8.3f   2.000   3.000  1.00  0.00           C\n" % (i, i, i)
        for i in range(1, 20)
    )
    pdb = b"REMARK   2 RESOLUTION.    1.80 ANGSTROMS.\nMODEL        1\n" + pdb + b"ENDMDL\nEND\n"
    # Chains without letters, numbers that end, names at the left edge, an alternate location.
    hard = b"".join(
        b"ATOM  ***** %-4s%sALA  %4s    %8.3f   2.000   3.000  1.00  0.00      PRO%d\n"
        % (name, b" A"[i % 2 :][:1], b"****" if i > 5 else b"999%d" % (i + 4), i + copy, copy)
        for copy in (0, 1) for i in range(8) for name in (b"N", b"CA", b"C")
    )
    hard = hard.replace(b"PRO1", b"    ") + b"END\nTER\n" + hard
    return [
        (".pdb1", hard), (".pdb", hard.replace(b"PRO0", b"    ")),
        (".cif", cif.read_bytes()), (".bcif", bcif.read_bytes()), (".pdb", pdb),
        (".cif.gz", gzip.compress(cif.read_bytes())),
        (".bcif.gz", gzip.compress(bcif.read_bytes())),
        (".parquet", (folder / "small.parquet").read_bytes()),
    ]  # fmt: skip


def run_case(seed: int, seeds: list[tuple[str, bytes]], case: Path) -> str:
    """Damage a file as the seed says, read it, and say what came of it."""
    rng = random.Random(seed)
    suffix, content = rng.choice(seeds)
    content = damage(content, rng)
    path = case.with_name(case.name + suffix)
    path.write_bytes(content)
    if suffix == ".parquet":
        return f"{suffix}: {describe(lambda: load_atoms(path), path)}"
    if seed % 50 == 0:
        return f"build {suffix}: {build(path)}"
    assembly = rng.choice(["asymmetric", "biological"])
    return f"{suffix}: {describe(lambda: read_entry(path, assembly=assembly).atoms, path)}"


def damage(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        start = rng.randrange(len(content) + 1)
        length = rng.choice([0, 1, 1, 2, 8, 64])
        match rng.randrange(6):
            case 0:
                new = rng.choice(WORDS)
            case 1:
                new = rng.randbytes(length)
            case 2:  # a part of itself
                other = rng.randrange(len(content) + 1)
                new = content[other : other + rng.choice([8, 80, 800])]
            case 3:
                new = b""
            case 4:
                new, length = b"", len(content)
            case _:
                new = bytes(b ^ (1 << rng.randrange(8)) for b in content[start : start + 1])
                length = 1
        content = content[:start] + new + content[start + length :]
    return content


def describe(read, path: Path) -> str:
    try:
        atoms = read()
    except StructureError as error:
        message = str(error)
        assert message.startswith(f"{path}: "), message
        assert "\n" not in message, message
        return " ".join(message.removeprefix(f"{path}: ").split()[:3])
    assert len(atoms) or path.suffix == ".parquet"
    assert atoms[["x", "y", "z"]].notna().all(axis=None) or path.suffix == ".parquet"
    return "read"


def build(path: Path) -> str:
    out = path.with_name("case_set.parquet")
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = run_command(["data", "build", str(path), "--out", str(out), "--jobs", "1"])
    # One structure makes no three splits, so that no set ever comes of it.
    assert code == 2, code
    assert not list(path.parent.glob("case_set*")), list(path.parent.glob("case_set*"))
    assert errors.getvalue().count("\n") <= 2, errors.getvalue()
    return f"exit {code}"


if __name__ == "__main__":
    main()
