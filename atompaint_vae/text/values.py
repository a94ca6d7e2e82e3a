"""Types that several hyperparameters share: fields, lengths, counts."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

from .typed import Float, Hint, Int, Noun, Unit

# Only the syntax: atompaint_vae.nn.fields knows the meaning, but needs torch, and this module must
# load fast.  A test compares the two.
_FIELD_TERM = r"[1-9][0-9]{0,12}x(fourier[0-3]|quotient[0-3]|[0-6]e)"


MAX_DENSITY_ATOMS_NM3 = 176
"""The density of diamond; no structure is denser."""


_ELEMENTS = frozenset(re.findall(
    r"\w+",
    "He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br "
    "Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho "
    "Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm"
))


_FIELDS = re.compile(rf"{_FIELD_TERM}( *\+ *{_FIELD_TERM})*")


_ODD_TERM = re.compile(r"[0-9]+x[0-9]+o")


def _check_fields(text: str) -> str:
    if _FIELDS.fullmatch(text):
        return text
    if odd := _ODD_TERM.search(text):
        raise Hint(f"'{odd[0]}': only e (even) is allowed")
    raise ValueError


def _check_elements(text: str) -> str:
    symbols = text.split()
    if symbols != ["all"] and not (symbols and set(symbols) <= _ELEMENTS):
        raise ValueError
    return " ".join(symbols)


def _check_odd(number: int) -> int:
    if number % 2 == 0:
        nearest = f"{number - 1} and {number + 1}"
        raise Hint(f"an even side breaks the symmetry of the cube; the nearest are {nearest}")
    return number


def limit(most: float) -> Callable[[float], float]:
    """Return the check of an upper bound that is mentioned only when a value exceeds it."""
    def check(number: float) -> float:
        if number > most:
            raise Hint(f"at most {most:g}")
        return number
    return check


def _check_density(atoms_nm3: float) -> float:
    if atoms_nm3 > MAX_DENSITY_ATOMS_NM3:
        raise Hint(f"at most {MAX_DENSITY_ATOMS_NM3}, the density of diamond")
    return atoms_nm3


def _check_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    return text


FieldsText = Annotated[
    str, AfterValidator(_check_fields),
    Noun("fields such as '2xfourier1', '4xquotient2', '16x0e' or a sum of them, with frequency "
         "from 0 to 3 and l from 0 to 6"),
]


Elements = Annotated[
    str, AfterValidator(_check_elements),
    Noun("'all' or symbols of elements such as 'C N O'"),
]


Voxels = Annotated[
    Int, AfterValidator(_check_odd), Unit({"voxels": 1}), Noun("an odd number of voxels")]


Side = Annotated[Voxels, AfterValidator(limit(999))]


Length = Annotated[
    Float, AfterValidator(limit(1e6)), Unit({"Å": 1, "nm": 10, "pm": 0.01}),
    Noun("a length [Å, nm, pm]"),
]


Count = Annotated[Int, AfterValidator(limit(10**9))]


# Products with losses and gradients stay finite in float32.
Weight = Annotated[Float, AfterValidator(limit(1e30))]


Density = Annotated[
    Float, AfterValidator(_check_density), Unit({"atoms/nm³": 1, "atoms/Å³": 1000}),
    Noun("a density [atoms/nm³, atoms/Å³]"),
]


Name = Annotated[str, AfterValidator(_check_printable), Noun("a name")]
