"""Which atoms are one residue, and which residues one chain, where a file doesn't tell them apart.

Numbers may be unreadable, or begin again after 9999; chains may lack letters, or share them. The
order of the lines and TER tell such residues apart. A visit is a run of consecutive atoms with one
chain, number, insertion code and name; a residue may have several.

n: atoms
v: visits
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from atompaint_vae.data.structures.lines import Atoms, Texts, combine, find_repeated

PLACE = ("chain", "residue_num", "insertion_code")
# An atom that is further from that of the same name is another residue's, not another location.
MAX_BACKBONE_SHIFT_A = 2.5
LAST_NUMBER = 9999


class Numbering(NamedTuple):
    """A number for each residue, and a name for each chain."""

    residue_num: Int[np.ndarray, "n"]
    chain: Texts
    num_stand_ins: int  # residues whose number couldn't be read
    num_copies: int  # chains that had to be told apart from another of the same name


def number_residues(atoms: Atoms, is_polymer: Bool[np.ndarray, "n"]) -> Numbering:
    """Give each residue a number of its own, and each copy of a chain a name of its own.

    A number that can't be read becomes one more than the highest of the chain, and so on. A number
    that goes on after 9999 with 0 or 1, or in hexadecimal digits, becomes 10000 and so on.

    A chain that has an atom for the second time, in another place, is another chain from there on,
    or from the last TER: A2 is the second copy of A, 2 that of a chain without a name. Without a
    name, each polymer that follows a TER is another chain.
    """
    visits = _find_visits(atoms, is_polymer)
    num_stand_ins = _complete_numbers(visits, atoms["number"].distinct)
    copies = _find_copies(atoms, visits)
    index = np.repeat(np.arange(len(copies)), visits["end"] - visits["start"])
    chain, num_copies = _name_copies(atoms["chain"], copies[index])
    return Numbering(visits["residue_num"][index], chain, num_stand_ins, num_copies)


def _find_visits(atoms: Atoms, is_polymer: Bool[np.ndarray, "n"]) -> dict[str, np.ndarray]:
    """Find visits. If a residue's first atom comes again, far away or without a number that can be
    read, another residue begins."""
    number, is_known = parse_numbers(atoms["number"])
    texts = ("chain", "number", "insertion_code", "residue")
    columns = [*(atoms[x].codes for x in texts), atoms["part"]]
    is_start = np.ones(len(number), dtype=bool)
    is_start[1:] = np.any([x[1:] != x[:-1] for x in columns], axis=0)
    first = np.flatnonzero(is_start)[np.cumsum(is_start) - 1]
    name, altloc = (atoms[x].codes for x in ("name", "altloc"))
    is_again = (name == name[first]) & (altloc == altloc[first]) & ~is_start
    if is_again.any():
        shifts_A = atoms["position_A"][is_again] - atoms["position_A"][first[is_again]]
        is_far = is_polymer[is_again] & (np.linalg.norm(shifts_A, axis=1) > MAX_BACKBONE_SHIFT_A)
        is_again[is_again] = is_far | ~is_known[is_again]
    start = np.flatnonzero(is_start | is_again)
    return {
        "start": start,
        "end": np.append(start[1:], len(number)),
        "chain": columns[0][start],
        "text": columns[1][start],
        "insertion_code": columns[2][start],
        "residue": columns[3][start],
        "part": columns[4][start],
        "residue_num": number[start],
        "is_known": is_known[start] & ~is_again[start],
        "is_polymer": is_polymer[start],
    }


def parse_numbers(texts: Texts) -> tuple[Int[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Parse residues' numbers; return them, and whether each could be read.

    Beyond 9999 and -999, PDB files have hybrid-36 numbers, or hexadecimal ones: those of a file
    where one begins with a digit and has letters.

    source: cci.lbl.gov/hybrid_36
    """
    is_hex = any(re.fullmatch(r"[0-9][0-9a-fA-F]{3,4}", x) and not x.isdigit()
                 for x in texts.distinct)  # fmt: skip
    values = [_parse_number(text, is_hex) for text in texts.distinct]
    numbers = texts.look_up([0 if x is None else x for x in values]).astype(np.int64)
    return numbers, texts.look_up([x is not None for x in values]).astype(bool)


def _parse_number(text: str, is_hex: bool) -> int | None:
    if re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        return int(text)
    if is_hex and re.fullmatch(r"[0-9a-fA-F]{4,5}", text):
        return int(text, 16)
    # Upper case continues decimal digits, and lower case continues upper case.
    if re.fullmatch(r"[A-Z][0-9A-Z]{3}", text):
        return int(text, 36) - 10 * 36**3 + 10**4
    if re.fullmatch(r"[a-z][0-9a-z]{3}", text):
        return int(text, 36) + 16 * 36**3 + 10**4
    return None


def _complete_numbers(visits: dict[str, np.ndarray], texts: list[str]) -> int:
    """Continue numbers after 9999, and number the residues without one; count the latter."""
    if (visits["residue_num"] == LAST_NUMBER).any():
        _continue_numbers(visits, texts)
    is_known = visits["is_known"]
    for chain in np.unique(visits["chain"][~is_known]):
        own = visits["chain"] == chain
        last = visits["residue_num"][own & is_known].max(initial=0)
        rank = np.arange(1, 1 + (own & ~is_known).sum())
        visits["residue_num"][own & ~is_known] = last + rank
    return int((~is_known).sum())


def _continue_numbers(visits: dict[str, np.ndarray], texts: list[str]) -> None:
    as_hex = [int(x, 16) if re.fullmatch(r"[0-9a-fA-F]{4,5}", x) else 0 for x in texts]
    piece = combine(visits["chain"], visits["part"])
    for each in np.unique(piece[visits["residue_num"] == LAST_NUMBER]):
        own = np.flatnonzero(piece == each)
        number, hex_number = visits["residue_num"][own], np.array(as_hex)[visits["text"][own]]
        is_next = np.append(False, number[:-1] == LAST_NUMBER)
        is_hex = np.logical_or.accumulate(is_next & (hex_number == LAST_NUMBER + 1))
        is_hex &= hex_number > LAST_NUMBER
        number = np.where(is_hex, hex_number, number)
        visits["is_known"][own] |= is_hex
        is_wrapped = is_next & np.isin(number, (0, 1))
        visits["residue_num"][own] = number + np.cumsum(
            np.where(is_wrapped, LAST_NUMBER + 1 - number, 0)
        )


def _find_copies(atoms: Atoms, visits: dict[str, np.ndarray]) -> Int[np.ndarray, "v"]:
    """Return which copy of its chain each visit belongs to."""
    start, end, chain, part, number, residue, is_polymer = (
        visits[x]
        for x in ("start", "end", "chain", "part", "residue_num", "residue", "is_polymer")
    )
    copies = np.zeros(len(start), dtype=np.int64)
    is_blank = chain == _find_index(atoms["chain"].distinct, "")
    is_returning = find_repeated(combine(chain, number, visits["insertion_code"]))
    if len(np.unique(part[is_blank])) > 1:
        is_returning |= is_blank
    if not is_returning.any():
        return copies
    place = combine(number, visits["insertion_code"])
    names = (atoms[x].codes for x in ("residue", "name", "altloc"))
    ids = combine(np.repeat(place, end - start), *names)
    has_altloc = ~atoms["altloc"].isin({""})[start]
    for each in np.unique(chain[is_returning]):
        own = np.flatnonzero(chain == each)
        breaks = np.flatnonzero((np.diff(number[own]) < 0) | (np.diff(part[own]) != 0)) + 1
        copy, last_part, seen, seen_names = 0, None, set(), {}
        for piece in np.split(own, breaks):
            found = {x for v in piece for x in ids[start[v] : end[v]].tolist()}
            names = {place[v]: residue[v] for v in piece if is_polymer[v] and not has_altloc[v]}
            is_next = is_blank[piece[0]] and names and last_part not in (None, part[piece[0]])
            is_other = any(seen_names.get(x, name) != name for x, name in names.items())
            if is_next or is_other or not seen.isdisjoint(found):
                copy, seen, seen_names = copy + 1, set(), {}
            copies[piece] = copy
            seen |= found
            seen_names |= names
            last_part = part[piece[0]] if names else last_part
    return copies


def _find_index(texts: list[str], text: str) -> int:
    return texts.index(text) if text in texts else -1


def _name_copies(chains: Texts, copies: Int[np.ndarray, "n"]) -> tuple[Texts, int]:
    if not copies.any():
        return chains, 0
    pairs, index = np.unique(np.stack([copies, chains.codes]), axis=1, return_inverse=True)
    names, taken = [], set(chains.distinct)
    for copy, code in pairs.T.tolist():
        name, number = chains.distinct[code], copy + 1
        while copy and f"{name}{number}" in taken:
            number += 1
        names.append(f"{name}{number}" if copy else name)
        taken.add(names[-1])
    return Texts(index.ravel(), names), int((pairs[0] > 0).sum())
