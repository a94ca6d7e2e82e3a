"""
How cells sort, and the numbers that they hold: one rule for `:sort:`, `:where:` and the browser.

Python reads the cells. The browser gets the numbers and ranks that result (`Column.pack`); it reads
only the numbers that people type into filters.

A column holds numbers if it has at least one, and its other cells are missing: empty, a dash, `NA`,
`null`, `#DIV/0!` and the like (MISSING). A number may have

- thousands separators: commas, apostrophes, spaces of any width;
- a decimal comma, if each cell of the column can be read so. `1,234` could be either: it is a
  decimal comma where another column has one for certain or semicolons delimit the file, and
  otherwise a thousands separator;
- a power of ten (`1e5`, `1.5 × 10^5`), an uncertainty (`± 0.1`, `(3)`), a sign of a footnote;
- a bound: `<0.001` is less than 0.001, but not less than any other smaller number;
- a unit or currency. All cells have the same one or units of one system, as MB and GB or s and h
  are. A number without a unit is in the first unit of its column. Other words must stand apart:
  `5 runs` is a number, `5runs` is text;
- colons: `1:30:00` is 90 minutes and `1:30` is 90 seconds.

Numbers sort by their exact value, whatever their number of digits. All else is text, which sorts
without case and diacritics, and its numbers by value: 2 before 10, `r=0.25` before `r=0.3`, and
therefore `v1.10` before `v1.9`. Two or more points make integers of their parts: `1.9.0` comes
before `1.10.0`, and so do dates and addresses. Missing cells come last in both directions; in a
column of text, these are empty cells and dashes.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cached_property
from typing import Any, NamedTuple

EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN, Emax=10**9, Emin=-(10**9))
NEIGHBOUR = Context(prec=15)  # numbers of 15 digits differ as floats, too

DASHES = frozenset(["", "-", "--", "---", "–", "—", "−", "―", "…", "..."])
MISSING = DASHES | {
    ".", "?", "\\n", "na", "n/a", "n.a.", "n.a", "<na>", "nan", "nat", "none", "null", "nil", "nd",
    "n.d.", "n/d", "tbd", "missing",
}  # fmt: skip
ERROR = re.compile(
    r"#(?:div/0!|n/a|value!|ref!|name\?|num!|null!|spill!|calc!|#*)|err:[0-9]+|=.*", re.DOTALL
)
"""An error of a spreadsheet, or a formula without a value."""

SPELLINGS = {
    **dict.fromkeys([*map(chr, range(0x2002, 0x200B)), "\u00a0", "\u202f", "\u205f"], " "),
    **dict.fromkeys("\u200b\u200e\u200f\u2060\ufeff", ""),
    **dict.fromkeys("−–‐‑﹣－", "-"),
    **dict(zip("’μ∞", ["'", "µ", "inf"], strict=True)),
}
TRANSLATION = str.maketrans(SPELLINGS)
CURRENCIES = "$€£¥₹"
SUPERSCRIPTS = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")

PLAIN = re.compile(r"-?[0-9]{1,300}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
"""A number that needs no reading."""
BEGINNING = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?Infinity")
"""What parseFloat of JavaScript reads of a text."""


def _make_number_patterns(point: str, grouped: str) -> tuple[re.Pattern, ...]:
    digits = (
        rf"(?:[1-9][0-9]{{0,2}}{grouped}|[1-9][0-9]{{0,2}}(?:[ '][0-9]{{3}})+|[0-9]+)"
        rf"(?:{point}[0-9]*)?|{point}[0-9]+"
    )
    power = (
        r"[eE](?P<power>[+-]?[0-9]{1,4})"
        r"|\ ?[x×·⋅*]\ ?10"
        r"(?:\^?[{(]?(?P<power2>[+-]?[0-9]{1,4})[)}]?|(?P<power3>[⁺⁻]?[⁰¹²³⁴-⁹]{1,4}))"
    )
    uncertainty = (
        rf"\ ?(?:±|\+/-|\+-)\ ?(?:{digits})(?:[eE][+-]?[0-9]{{1,4}})?"
        rf"|\ \+(?:{digits})\ ?/?\ ?-(?:{digits})"
        r"|\ ?\([^()]{1,24}\)|\ ?\[[^\[\]]{1,24}\]"
    )
    uncertainty = f"(?:{uncertainty})"
    number = re.compile(
        rf"""
        (?P<bound><=|>=|<<|>>|[<>≤≥~≈∼]|ca\.)?\ ?
        (?P<sign>[+-])?\ ?
        (?:(?P<currency>[{CURRENCIES}]|USD|EUR|GBP|CHF|JPY|CNY)\ ?(?P<inner>-)?)?
        (?:(?P<digits>{digits})(?:{power})?|(?P<infinite>inf(?:inity)?))
        (?:{uncertainty})?
        (?P<gap>\ ?)(?P<unit>
            (?:[^\W\d_]|[%‰°{CURRENCIES}/′″])(?:[^\W_]|[%‰°/·⋅.*^⁻⁺-]){{0,19}}
        )?
        (?:{uncertainty}(?:\ ?(?P=unit))?)?
        \ ?[*†‡§¶]{{0,3}}\+?
        """,
        re.VERBOSE | re.IGNORECASE,
    )
    in_brackets = re.compile(rf"\(((?:[+-])?(?:{digits}))\ ?(?:±|\+/-|\+-)[^()]*\)")
    return number, in_brackets


POINT = _make_number_patterns(r"\.", "(?:,[0-9]{2,3})*,[0-9]{3}")  # also 1,50,000, as in India
COMMA = _make_number_patterns(",", r"(?:\.[0-9]{3})+")

CLOCK = re.compile(
    r"(?P<sign>-)?(?:(?P<days>[0-9]+) ?d(?:ays?)?,? ?)?"
    r"(?P<fields>[0-9]+(?::[0-9]{1,2}){1,2})(?P<rest>[.,][0-9]+)?(?: ?(?P<half>[ap])\.?m\.?)?",
    re.IGNORECASE,
)
SPANS = re.compile(r"(?P<sign>-)?(?P<spans>(?:[0-9]+(?:\.[0-9]+)? ?[a-zµ]+,? ?){2,})")
SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([a-zµ]+)")

PREFIXES = {
    "f": -15, "p": -12, "n": -9, "µ": -6, "u": -6, "m": -3, "c": -2, "d": -1, "": 0, "k": 3, "K": 3,
    "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip


def _scale(unit: str, prefixes: str, base: str = "1") -> dict[str, Decimal]:
    names = ["", *prefixes]
    return {f"{x}{unit}": Decimal(base).scaleb(PREFIXES[x]) for x in names}


def _list_names(*lines: str) -> dict[str, Decimal]:
    """Return the size of each unit, from lines of a size and its units."""
    return {name: Decimal(size) for size, *names in map(str.split, lines) for name in names}


BYTES = {
    **_scale("B", "kKMGTPE"),
    **{f"{x}iB": Decimal(1024) ** i for i, x in enumerate("KMGTP", 1)},
}
SECONDS = {
    **_scale("s", "fpnµum"),
    **_list_names(
        "1 sec secs second seconds",
        "60 min mins minute minutes m",
        "3600 h hr hrs hour hours",
        "86400 d day days",
        "604800 w week weeks",
        "31557600 y yr yrs year years",
    ),
}
FLOPS = {f"{x}{y}": size for y in ("FLOP", "FLOPs", "FLOPS", "FLOP/s")
         for x, size in _scale("", "kKMGTPE").items()}  # fmt: skip
SYSTEMS: tuple[Mapping[str, Decimal], ...] = (
    {**_scale("", "kKMGT"), "B": Decimal(10**9)},  # numbers of things
    _list_names("1 %", "0.1 ‰"),
    _list_names("1 ppm", "0.001 ppb"),
    _list_names("1 x ×"),
    _list_names("1 ° deg", f"{math.degrees(1)!r} rad"),
    *({name: Decimal(1)} for name in ("°C", "°F", "dB", "px", "fps", "rpm", *CURRENCIES)),
    {**_scale("m", "fpnµumcdk"), "Å": Decimal("1e-10")},
    SECONDS,
    {**BYTES, **_scale("", "kKMGT"), **_list_names("1 byte bytes")},
    {f"{name}/s": size for name, size in BYTES.items()},
    {**_scale("b", "kMGT"), **_scale("bit", "kMGT")},
    _scale("g", "fpnµumk"),
    _scale("Da", "kM"),
    _scale("M", "fpnµum"),
    _scale("mol", "fpnµumk"),
    {**_scale("J", "fpnµumkMG"), **_scale("cal", "k", "4.184"), "Wh": Decimal(3600),
     "kWh": Decimal(3600000)},
    {**_scale("J/mol", "k"), **_scale("cal/mol", "k", "4.184")},
    _scale("eV", "mkMG"),
    _scale("W", "mkMG"),
    _scale("V", "µmk"),
    _scale("A", "pnµm"),
    _scale("K", "µm"),
    _scale("N", "pnµmk"),
    _scale("Hz", "kMGT"),
    {**_scale("Pa", "kMG"), **_scale("bar", "m", "1e5")},
    {**_scale("L", "nµumd"), **_scale("l", "nµumd")},
    _scale("bp", "kMG"),
    FLOPS,
)  # fmt: skip
KNOWN_UNITS = frozenset().union(*SYSTEMS) - {""}


class Quantity(NamedTuple):
    """A number with its unit and currency, each empty if it has none."""

    value: Decimal
    unit: str = ""
    currency: str = ""


@dataclass(frozen=True)
class Column:
    """
    What the cells of a column sort by.

    keys:      for each cell what to sort it by, comparable within the column; None if it's missing
    is_number: whether the keys are numbers, in the column's first unit
    unit:      the first unit; empty if no cell has one, or if numbers without one are of size 1
    sizes:     the sizes of the units that a limit may have
    has_comma: whether a comma is the decimal sign
    is_plain:  whether each cell begins with its number, as JavaScript's parseFloat reads it
    """

    keys: Sequence[Any]
    is_number: bool
    unit: str = ""
    sizes: Mapping[str, Decimal] = field(default_factory=dict)
    has_comma: bool = False
    is_plain: bool = False

    def read_limit(self, text: str) -> Decimal | None:
        """Return the number, in the column's first unit, to compare cells with, or None."""
        text = normalise(text)
        quantity = (self.has_comma and read_quantity(text, has_comma=True)) or read_quantity(text)
        if not quantity or (quantity.unit or quantity.currency) not in ("", *self.sizes):
            return None
        return _convert(quantity, self.sizes, self.unit)

    @cached_property
    def ranks(self) -> list[int | None]:
        """For each cell its place in ascending order, the same for equal ones; None if missing."""
        places = {key: i for i, key in enumerate(sorted({x for x in self.keys if x is not None}))}
        return [None if key is None else places[key] for key in self.keys]

    def pack(self) -> dict[str, Any]:
        """
        Return what the browser can't tell from the cells; nothing if it can tell all.

        numbers: for each cell its number, null if it's missing; by default what it begins with
        ranks:   what to sort by; by default numbers, or the order of the rows for text
        unit:    the first unit
        sizes:   the sizes of units; of several names of a size, those in the column and one more
        comma:   true if a comma is the decimal sign
        """
        packed: dict[str, Any] = {}
        if not self.is_number:
            return {} if self.ranks == list(range(len(self.keys))) else {"ranks": self.ranks}
        numbers = [None if key is None else _shorten(float(key)) for key in self.keys]
        if not self.is_plain:
            packed["numbers"] = numbers
        exact = {key for key in self.keys if key is not None}
        if len({float(key) for key in exact}) < len(exact):
            packed["ranks"] = self.ranks
        if self.sizes:
            packed["unit"] = self.unit
            packed["sizes"] = {name: _shorten(float(size)) for name, size in self.sizes.items()}
        if self.has_comma:
            packed["comma"] = True
        return packed


def read_columns(columns: Iterable[Sequence[str]], prefers_comma: bool = False) -> list[Column]:
    """
    Return what the cells of each column of a table sort by.

    prefers_comma: whether the comma of a number like 1,234 is a decimal one
    """
    columns = [[x.strip() for x in column] for column in columns]
    read = [_read_both(column) for column in columns]
    prefers_comma |= any(comma and not point for point, comma in read)
    chosen = []
    for texts, (point, comma) in zip(columns, read, strict=True):
        number = comma if comma and (prefers_comma or not point) else point
        chosen.append(number or Column([make_sort_key(x) for x in texts], is_number=False))
    return chosen


def read_quantity(text: str, has_comma: bool = False) -> Quantity | None:
    """
    Return the number and the unit in a normalised text; None if it is no number.

    has_comma: whether a comma is the decimal sign
    """
    if not has_comma and PLAIN.fullmatch(text):
        return Quantity(Decimal(text))
    if ":" in text:
        return _read_clock(text)
    number, in_brackets = COMMA if has_comma else POINT
    if text.startswith("("):
        text = in_brackets.sub(r"\1", text, count=1)
    match = number.fullmatch(text)
    if not match:
        return _read_spans(text)
    unit = match["unit"] or ""
    if unit and not match["gap"] and unit not in KNOWN_UNITS:
        return _read_spans(text)  # 1h30m
    is_negative = "-" in (match["sign"] or "", match["inner"] or "")
    if match["infinite"]:
        value = Decimal("Infinity")
    else:
        digits = match["digits"].replace(" ", "").replace("'", "")
        digits = digits.replace(".", "").replace(",", ".") if has_comma else digits.replace(",", "")
        power = match["power"] or match["power2"] or (match["power3"] or "0")
        value = Decimal(f"{digits}e{power.translate(SUPERSCRIPTS)}")
    value = value.copy_negate() if is_negative else value
    bound = (match["bound"] or "")[:1]
    if bound in ("<", ">") and not (match["bound"] or "").endswith("="):
        value = value.next_minus(NEIGHBOUR) if bound == "<" else value.next_plus(NEIGHBOUR)
    return Quantity(value, unit, (match["currency"] or "").upper())


def is_missing(text: str) -> bool:
    """Return whether a cell of a column of numbers holds none, such as `NA`."""
    return text.lower() in MISSING or bool(ERROR.fullmatch(text.lower()))


def normalise(text: str) -> str:
    """Return the text of a number with plain spaces and signs."""
    text = text if text.isascii() else text.translate(TRANSLATION)
    return text.strip()


NATURAL = re.compile(
    r"""
    (?=[-.0-9])  # for speed
    (?:(?P<parts>[0-9]+(?:\.[0-9]+){2,})
    | (?P<sign>(?<![^\s=:(,<>~])-)?
      (?:(?P<power>(?<![\w.])[0-9]+(?:\.[0-9]+)?e[+-]?[0-9]{1,4}(?![\w.]))
      | (?P<whole>[0-9]+)(?:\.(?P<rest>[0-9]+))?
      | (?<![\w.])\.(?P<only>[0-9]+)))
    """,
    re.VERBOSE,
)
NEGATED = {ord("0") + i: ord("9") - i for i in range(10)}


def make_text_key(text: str) -> str:
    """Return the key to sort text by: without case and diacritics, its numbers by value."""
    text = text.strip().lower()
    if not text.isascii():
        plain = unicodedata.normalize("NFD", text.replace("−", "-"))
        text = "".join(x for x in plain if not unicodedata.combining(x))
    return NATURAL.sub(_make_number_key, text)


def _make_number_key(match: re.Match) -> str:
    """Return a number as text that sorts by its value: its sign, how many digits it has, these."""
    if match["parts"]:
        return ".".join(_pad(x, "") for x in match["parts"].split("."))
    whole, rest = match["whole"] or "0", match["rest"] or match["only"] or ""
    if match["power"]:
        whole, _, rest = f"{Decimal(match['power']):f}".partition(".")
    key = _pad(whole, rest.rstrip("0"))
    if not match["sign"] or not key.strip("\x02Ā0"):
        return key
    digits = key[2:].translate(NEGATED)
    return f"\x01{chr(0xD7FF - ord(key[1]))}{digits}~"


def _pad(whole: str, rest: str) -> str:
    whole = whole.lstrip("0")
    return f"\x02{chr(0x100 + min(len(whole), 0x4000))}{whole}{rest}"


def make_sort_key(text: str) -> str | None:
    """Return the key of a cell in a column of text, None if it is missing."""
    return None if text in DASHES else make_text_key(text)


def _read_both(texts: Sequence[str]) -> tuple[Column | None, Column | None]:
    """Return the column read with decimal points and, if it has commas, with decimal commas."""
    if all(not x or PLAIN.fullmatch(x) for x in texts):
        keys = [Decimal(x) if x else None for x in texts]
        return (Column(keys, is_number=True, is_plain=True) if any(texts) else None), None
    point = _read_numbers(texts, has_comma=False)
    has_comma = any("," in x or x.count(".") > 1 for x in texts)
    return point, _read_numbers(texts, has_comma=True) if has_comma else None


def _read_numbers(texts: Sequence[str], has_comma: bool) -> Column | None:
    found: list[Quantity | None] = []
    for text in map(normalise, texts):
        quantity = read_quantity(text, has_comma)
        if quantity is None and not is_missing(text):
            return None
        found.append(quantity)
    present = [x for x in found if x is not None]
    units = list(dict.fromkeys(x.unit for x in present if x.unit))
    currencies = {x.currency for x in present if x.currency}
    if not present or len(currencies | {x for x in units if x in CURRENCIES}) > 1:
        return None
    system = next((x for x in SYSTEMS if set(units) <= x.keys()), None)
    if system is None:
        if len(units) > 1:
            return None
        system = {units[0]: Decimal(1)}
    # Among numbers such as 900, 1.5k and 2M, one without a unit has a size of its own.
    first = "" if "" in system and any(not x.unit for x in present) else (units or [""])[0]
    keys = [x and _convert(x, system, first) for x in found]
    is_plain = all(_begins_with(text, key) for text, key in zip(texts, keys, strict=True))
    sizes = _choose_names(system, currencies, units)
    return Column(keys, True, first, sizes, has_comma, is_plain)


def _begins_with(text: str, key: Decimal | None) -> bool:
    match = BEGINNING.match(text)
    return match is None if key is None else bool(match) and float(match[0]) == float(key)


def _choose_names(
    system: Mapping[str, Decimal], currencies: Iterable[str], units: Sequence[str]
) -> dict[str, Decimal]:
    """Return the sizes of units: of the first name of each size, and of the names in use."""
    sizes = dict.fromkeys(currencies, Decimal(1))
    if units:
        firsts = {size: name for name, size in reversed(system.items()) if name}
        sizes |= {name: size for name, size in system.items() if name in (*units, firsts.get(size))}
    return sizes


def _convert(quantity: Quantity, system: Mapping[str, Decimal], first: str) -> Decimal:
    if quantity.unit in ("", first):
        return quantity.value
    size = EXACT.multiply(quantity.value, system[quantity.unit])
    return EXACT.divide(size, system.get(first, Decimal(1)))


def _read_clock(text: str) -> Quantity | None:
    match = CLOCK.fullmatch(text)
    if not match:
        return None
    seconds = 0
    fields = [int(x) for x in match["fields"].split(":")]
    if match["half"]:
        fields = [fields[0] % 12 + 12 * (match["half"] in "pP"), *fields[1:], 0][:3]
    for number in fields:
        seconds = 60 * seconds + number
    value = Decimal(seconds + 86400 * int(match["days"] or 0))
    value += Decimal("0" + (match["rest"] or "").replace(",", "."))
    return Quantity(value.copy_negate() if match["sign"] else value, "s")


def _read_spans(text: str) -> Quantity | None:
    """Return a duration in several units, such as 1 h 30 min."""
    match = SPANS.fullmatch(text)
    if not match:
        return None
    spans = SPAN.findall(match["spans"])
    if not all(unit in SECONDS for _, unit in spans):
        return None
    value = sum((Decimal(number) * SECONDS[unit] for number, unit in spans), Decimal(0))
    return Quantity(value.copy_negate() if match["sign"] else value, "s")


def _shorten(number: float) -> float | int | str:
    """Return a number as JSON has it, infinity as JavaScript reads it."""
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
