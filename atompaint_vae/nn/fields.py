"""Field types: what the feature vector at a voxel consists of, and how it transforms.

A *field* is a group of channels that transform together.  There are three kinds:

- ``fourier``: a function on SO(3), band-limited at a frequency L, the regular representation;
  2l+1 copies of each irrep l <= L, (1, 10, 35, 84)[L] channels.
- ``quotient``: a function on the sphere S² = SO(3)/SO(2), band-limited at L; one copy of each
  irrep l <= L, (L+1)² channels.
- plain irreps: 2l+1 channels each.

Types are written as text, both in hparams and in code: ``2xfourier2``, ``4xquotient1``,
``8x0e+4x1e+2x2e``, or a mixture, ``2xfourier1+8x0e``.
"""

import re
from dataclasses import dataclass
from typing import Literal

from e3nn.o3 import Irrep, Irreps

MAX_FREQUENCY = 3

MAX_DEGREE = 6
"""A kernel between two irreps needs spherical harmonics of up to twice this degree, and e3nn has
them up to 12."""

FORMS = "'4xfourier2', '4xquotient1', '8x0e+4x1e', or a mixture joined by '+'"

_TERM = re.compile(
    r"(?P<multiplicity>[1-9][0-9]*)x"
    r"(?:(?P<kind>fourier|quotient)(?P<frequency>0|[1-9][0-9]*)|(?P<l>0|[1-9][0-9]*)e)"
)


@dataclass(frozen=True)
class Term:
    """A number of equal fields, side by side.

    frequency: the band limit of a Fourier or a quotient field, the l of an irrep
    """

    multiplicity: int
    kind: Literal["fourier", "quotient", "irrep"]
    frequency: int

    @property
    def field_irreps(self) -> Irreps:
        """The irreps of one field, in the order of its channels."""
        degrees = range(self.frequency + 1)
        match self.kind:
            case "fourier":
                return Irreps([(2 * l + 1, (l, 1)) for l in degrees])
            case "quotient":
                return Irreps([(1, (l, 1)) for l in degrees])
            case "irrep":
                return Irreps([(1, (self.frequency, 1))])

    @property
    def irreps(self) -> Irreps:
        if self.kind == "irrep":
            return Irreps([(self.multiplicity, (self.frequency, 1))])
        return Irreps([entry for _ in range(self.multiplicity) for entry in self.field_irreps])

    @property
    def size(self) -> int:
        """The number of channels."""
        return self.multiplicity * self.field_irreps.dim

    def __str__(self):
        name = f"{self.frequency}e" if self.kind == "irrep" else f"{self.kind}{self.frequency}"
        return f"{self.multiplicity}x{name}"


@dataclass(frozen=True)
class FieldType:
    """The type of a whole feature vector: terms, in the order of their channels."""

    terms: tuple[Term, ...]

    @property
    def irreps(self) -> Irreps:
        """The irreps, in the order of the channels (not sorted, not simplified)."""
        return Irreps([entry for term in self.terms for entry in term.irreps])

    @property
    def size(self) -> int:
        """The number of channels."""
        return sum(term.size for term in self.terms)

    def __str__(self):
        return "+".join(map(str, self.terms))


def parse_field_type(text: "str | FieldType | Irreps") -> FieldType:
    """Parse the text of a field type; a field type is returned as it is.

    raises: ValueError if the text has no known form, a frequency exceeds 3, or an l exceeds 6
    """
    if isinstance(text, FieldType):
        return text

    terms = []
    for part in re.split(r" *\+ *", str(text)):
        match = _TERM.fullmatch(part)
        if not match:
            raise ValueError(f"field type {str(text)!r}: can't read {part!r}; expected {FORMS}")
        kind = match["kind"] or "irrep"
        frequency = int(match["frequency"] or match["l"] or 0)
        if kind != "irrep" and frequency > MAX_FREQUENCY:
            raise ValueError(
                f"field type {str(text)!r}: frequency {frequency} is above {MAX_FREQUENCY}, "
                "the highest whose grids are known"
            )
        if kind == "irrep" and frequency > MAX_DEGREE:
            raise ValueError(
                f"field type {str(text)!r}: l = {frequency} is above {MAX_DEGREE}, the highest "
                "whose kernels are known"
            )
        terms.append(Term(int(match["multiplicity"]), kind, frequency))
    return FieldType(tuple(terms))


def count_copies(irreps: Irreps) -> int:
    """Count the irrep copies: ``3x0e+2x1e`` has five."""
    return sum(multiplicity for multiplicity, _ in irreps)


def list_copies(irreps: Irreps) -> list[Irrep]:
    """List the irrep of each copy, in the order of the channels."""
    return [irrep for multiplicity, irrep in irreps for _ in range(multiplicity)]
