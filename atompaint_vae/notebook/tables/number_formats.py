"""
Numbers as a spreadsheet's format codes show them, such as `0.0%` or `[h]:mm`.

Of the libraries, ssf is unmaintained and brings lunar calendars along; xlsx2html knows neither
durations nor fractions. Names of days and months are English; what depends on the reader's country
has no text here (None).
"""

import datetime
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache

TOKEN = re.compile(
    r"""
    "(?P<quoted>[^"]*)" | \\(?P<escaped>.) | _(?P<space>.) | \*(?P<fill>.)
    | \[(?P<bracket>[^\]]*)\]
    | (?P<general>General)
    | (?P<half>AM/PM|A/P)
    | (?P<exponent>E[+-])
    | (?P<date>y+|m+|d+|h+|s+)
    | (?P<fraction>\.0+)
    | (?P<digit>[0\#?]) | (?P<sign>[.,%/@])
    | (?P<literal>.)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
ELAPSED = re.compile(r"h+|m+|s+", re.IGNORECASE)
CONDITION = re.compile(r"(<=|>=|<>|<|>|=)(-?[0-9.]+)")
CURRENCY = re.compile(r"\$([^-]*)(?:-[0-9A-Fa-f]*)?")
BY_COUNTRY = re.compile(r"\[\$-(?:x-)?(?:sys|F)", re.IGNORECASE)
COMPARE = {
    "<": lambda x, y: x < y, "<=": lambda x, y: x <= y, ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y, "=": lambda x, y: x == y, "<>": lambda x, y: x != y,
}  # fmt: skip
EPOCH = datetime.datetime(1899, 12, 30)
WIDE = Context(prec=400)  # for any float with all its digits

MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December"]  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

Tokens = list[tuple[str, str]]


@lru_cache(maxsize=256)
def split_format(code: str) -> list[Tokens]:
    """Return the sections of a format code as tokens: kind, text."""
    sections: list[Tokens] = [[]]
    for match in TOKEN.finditer(code):
        if match.lastgroup == "literal" and match[0] == ";":
            sections.append([])
        else:
            sections[-1].append((match.lastgroup, match[match.lastgroup]))
    return [_mark_dates(x) for x in sections]


def format_serial(value: float, code: str, epoch: datetime.datetime = EPOCH) -> str | None:
    """
    Return a number as a format code shows it; None if that depends on the reader's country.

    value: of a date, in days since the epoch
    code:  a format code as of ECMA-376 18.8.31
    """
    if BY_COUNTRY.match(code) or code.lower() in ("general", "@", "mm-dd-yy"):
        return None
    sections = split_format(code)
    if len(sections) > 1 and sections[-1] and ("sign", "@") in sections[-1]:
        sections = sections[:-1]
    section, is_absolute = _choose_section(sections[:3], value)
    kinds = {kind for kind, _ in section}
    number = Decimal(repr(value))
    number = abs(number) if is_absolute else number
    if "general" in kinds:
        text = _drop_zero(number)
        return "".join(text if kind == "general" else _write(kind, x) for kind, x in section)
    if kinds & {"date", "elapsed", "half"}:
        return _format_date(float(number), section, epoch)
    return _format_number(number, section)


def _choose_section(sections: list[Tokens], value: float) -> tuple[Tokens, bool]:
    """Return the section for a value, and whether its text has the sign of the value already."""
    brackets = [[x for kind, x in section if kind == "bracket"] for section in sections]
    conditions = [next(filter(None, map(CONDITION.fullmatch, found)), None) for found in brackets]
    if any(conditions):
        for section, condition in zip(sections, conditions, strict=True):
            if condition is None or COMPARE[condition[1]](value, float(condition[2])):
                return section, False
        return sections[-1], False
    if value < 0 and len(sections) > 1:
        return sections[1], True
    if value == 0 and len(sections) > 2:
        return sections[2], False
    return sections[0], False


def _mark_dates(section: Tokens) -> Tokens:
    """Return tokens in which brackets of durations, and m for minutes, have kinds of their own."""
    marked = [
        ("elapsed", x.lower()) if kind == "bracket" and ELAPSED.fullmatch(x)
        else (kind, x.lower()) if kind == "date"
        else (kind, x)
        for kind, x in section
    ]  # fmt: skip
    places = [i for i, (kind, _) in enumerate(marked) if kind in ("date", "elapsed")]
    for place, i in enumerate(places):
        kind, text = marked[i]
        before = marked[places[place - 1]][1] if place else ""
        after = marked[places[place + 1]][1] if place + 1 < len(places) else ""
        is_time = before[:1] == "h" or after[:1] == "s"
        if kind == "date" and text[0] == "m" and len(text) < 3 and is_time:
            marked[i] = ("minutes", text)
    if not places:  # then .0 are digits after the point
        split = {
            item: [("sign", "."), *[("digit", "0")] * (len(item[1]) - 1)]
            for item in marked if item[0] == "fraction"
        }  # fmt: skip
        marked = [x for item in marked for x in split.get(item, [item])]
    return marked


def _write(kind: str, text: str) -> str:
    """Return what a token other than of digits and dates shows."""
    if kind == "bracket":
        currency = CURRENCY.fullmatch(text)
        return currency[1] if currency else ""  # else a colour, a country or a condition
    return {"space": " ", "fill": ""}.get(kind, text)


def _format_number(number: Decimal, section: Tokens) -> str:
    kinds = [kind for kind, _ in section]
    if "digit" not in kinds:
        text = "".join(_write(kind, x) for kind, x in section)
        return f"-{text}" if number < 0 else text
    first = kinds.index("digit")
    last = len(kinds) - 1 - kinds[::-1].index("digit")
    if section[first - 1] == ("sign", ".") and first:
        first -= 1
    if ("sign", "/") in section[first:]:  # a fraction, whose denominator may be given: ?/16
        last = max(last, section.index(("sign", "/")))
        while last + 1 < len(section) and section[last + 1][1].isdigit():
            last += 1
    number *= 100 ** section.count(("sign", "%"))
    trailing = 0
    while last + 1 + trailing < len(section) and section[last + 1 + trailing] == ("sign", ","):
        trailing += 1
    number /= 1000**trailing
    before = "".join(_write(*x) for x in section[:first])
    after = "".join(_write(*x) for x in section[last + 1 + trailing :])
    middle = section[first : last + 1]
    if any(kind == "exponent" for kind, _ in middle):
        text = _format_power(number, middle)
    elif ("sign", "/") in middle:
        text = _format_fraction(number, middle)
    else:
        text = _format_decimal(number, middle)
    sign = "-" if number < 0 and re.search("[1-9]", text) else ""
    return f"{sign}{before}{text}{after}"


def _format_decimal(number: Decimal, section: Tokens) -> str:
    """Return the digits of a number, its literals in between."""
    point = section.index(("sign", ".")) if ("sign", ".") in section else len(section)
    whole, rest = section[:point], section[point + 1 :]
    has_commas = ("sign", ",") in whole
    places = [x for kind, x in rest if kind == "digit"]
    digits = f"{_round(abs(number), len(places)):f}"
    integer, _, decimals = digits.partition(".")
    shown = []
    for place in reversed(range(len(places))):
        if decimals[place] == "0" and places[place] != "0" and not shown:
            shown += [" "] if places[place] == "?" else []
        else:
            shown.insert(0, decimals[place])
    decimals = "".join(shown)
    # The digits are dealt out to the places from the right; what is left goes to the first one.
    left = list(integer.lstrip("0"))
    pieces: list[str] = []
    num_digits, num_places = 0, sum(kind == "digit" for kind, _ in whole)
    for kind, x in reversed(whole):
        if kind != "digit":
            pieces.append("" if (kind, x) == ("sign", ",") else _write(kind, x))
            continue
        num_places -= 1
        take = len(left) if num_places == 0 else min(1, len(left))
        for digit in [left.pop() for _ in range(take)] or [{"0": "0", "?": " "}.get(x, "")]:
            if has_commas and digit.isdigit() and num_digits and num_digits % 3 == 0:
                pieces.append(",")
            pieces.append(digit)
            num_digits += digit.isdigit()
    text = "".join(reversed(pieces))
    if not whole and integer != "0":
        text = integer
    literals = "".join(_write(kind, x) for kind, x in rest if kind != "digit")
    return text + ("." + decimals if point < len(section) else "") + literals


def _format_power(number: Decimal, section: Tokens) -> str:
    at = next(i for i, (kind, _) in enumerate(section) if kind == "exponent")
    mantissa, power = section[:at], section[at + 1 :]
    point = mantissa.index(("sign", ".")) if ("sign", ".") in mantissa else len(mantissa)
    num_whole = max(1, sum(kind == "digit" for kind, _ in mantissa[:point]))
    num_rest = sum(kind == "digit" for kind, _ in mantissa[point:])
    exponent = number.adjusted() if number else 0
    exponent -= exponent % num_whole if num_whole > 1 else 0
    if _round(abs(number).scaleb(-exponent), num_rest) >= 10**num_whole:
        exponent += num_whole
    text = _format_decimal(number.scaleb(-exponent), mantissa)
    width = sum(kind == "digit" for kind, _ in power)
    sign = "-" if exponent < 0 else section[at][1][1:].replace("-", "")
    return f"{text}E{sign}{abs(exponent):0{width}d}"


def _format_fraction(number: Decimal, section: Tokens) -> str:
    slash = section.index(("sign", "/"))
    start = slash
    while start and section[start - 1][0] == "digit":
        start -= 1
    below = section[slash + 1 :]
    given = "".join(x for _, x in below)
    exact = Fraction(abs(number))
    if given.isdigit() and int(given):
        bottom = int(given)
        top = round(exact * bottom)
    else:
        near = exact.limit_denominator(10 ** max(1, len(given.strip())) - 1)
        top, bottom = near.numerator, near.denominator
    if not any(kind == "digit" for kind, _ in section[:start]):
        return f"{top}/{bottom}"
    whole, top = divmod(top, bottom)
    pieces = [str(whole)] * bool(whole or not top) + [f"{top}/{bottom}"] * bool(top)
    return " ".join(pieces)


def _format_date(value: float, section: Tokens, epoch: datetime.datetime) -> str | None:
    digits = next((len(x) - 1 for kind, x in section if kind == "fraction"), 0)
    shows_seconds = any(x[0] == "s" for kind, x in section if kind in ("date", "elapsed"))
    unit = 10**digits if shows_seconds or digits else 1
    ticks = int((Decimal(repr(value)) * 86400 * unit).quantize(Decimal(1), ROUND_HALF_UP, WIDE))
    is_elapsed = any(kind == "elapsed" for kind, _ in section)
    sign = "-" if ticks < 0 and is_elapsed else ""
    ticks = abs(ticks) if is_elapsed else ticks
    seconds, part = divmod(ticks, unit)
    has_half = any(kind == "half" for kind, _ in section)
    hours, minutes, second = seconds // 3600, seconds // 60 % 60, seconds % 60
    moment = None
    if any(kind == "date" and x[0] in "ymd" for kind, x in section):
        day = seconds // 86400
        day += 0 < day < 60 and epoch == EPOCH  # spreadsheets believe in 29 February 1900
        try:
            moment = epoch + datetime.timedelta(days=day)
        except OverflowError:
            return None
    elapsed = {"h": hours, "m": seconds // 60, "s": seconds}
    pieces = []
    for kind, x in section:
        if kind == "elapsed":
            pieces.append(f"{elapsed[x[0]]:0{len(x)}d}")
        elif kind == "minutes":
            pieces.append(f"{minutes:0{len(x)}d}")
        elif kind == "fraction":
            pieces.append(f".{part:0{digits}d}")
        elif kind == "half":
            pieces.append(("AM" if hours % 24 < 12 else "PM")[: 2 if len(x) > 3 else 1])
        elif kind == "date" and x[0] == "h":
            hour = (hours % 24 - 1) % 12 + 1 if has_half else hours % 24
            pieces.append(f"{hour:0{min(len(x), 2)}d}")
        elif kind == "date" and x[0] == "s":
            pieces.append(f"{second:0{min(len(x), 2)}d}")
        elif kind == "date":
            pieces.append(_format_day(moment, x))
        else:
            pieces.append(_write(kind, x))
    return sign + "".join(pieces)


def _format_day(moment: datetime.datetime, text: str) -> str:
    if text[0] == "y":
        return f"{moment.year % 100:02d}" if len(text) < 3 else f"{moment.year:04d}"
    number = moment.month if text[0] == "m" else moment.day
    if len(text) < 3:
        return f"{number:0{len(text)}d}"
    if text[0] == "m":
        name = MONTHS[moment.month - 1]
        return name[0] if len(text) == 5 else name if len(text) == 4 else name[:3]
    name = DAYS[moment.weekday()]
    return name if len(text) > 3 else name[:3]


def _round(number: Decimal, num_digits: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-num_digits), ROUND_HALF_UP, WIDE)


def _drop_zero(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
