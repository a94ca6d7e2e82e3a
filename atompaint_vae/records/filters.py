"""
Filter expressions that select runs by their properties.

    loss.reduction == sum and model.latent != 1xfourier2 and best(val.r2) > 0.5

A comparison is a property, one of == != < <= > >= ~ (contains), and a value. Either is in quotes if
it has spaces or is a word of the grammar. `and`, `or`, `not` and parentheses join comparisons.
Numbers are compared as numbers; < <= > >= work only for numbers, ~ only for text. A run without a
property fails every comparison with it.

`static/runs.js` reads the same grammar; `tests/records/filters.nt` tests both with the same cases.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..text.formats import format_value
from ..text.suggest import find_near
from .properties import Value, say_unknown_property

TOKEN = re.compile(
    r"""\s*(?:
    (?P<sign>==|!=|<=|>=|<|>|~)
    | (?P<word>[A-Za-z_]\w*\([\w.]+\) | [^\s()=<>!~"']+)
    | (?P<quoted>"[^"]*" | '[^']*')
    | (?P<bracket>[()])
    )""",
    re.VERBOSE,
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
KEYWORDS = ("and", "or", "not")
SIGNS: dict[str, Callable] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "~": lambda value, text: text in value,
}

Properties = Mapping[str, Value]
Condition = Callable[[Properties], bool]
ReadNumber = Callable[[str, str], Any]
"""From the name of a property and a text to the number in it, or None."""


class WhereError(ValueError):
    """A mistake in a filter expression, at a column that counts from 1."""

    def __init__(self, column: int, text: str):
        super().__init__(f"column {column}: {text}")


class Token(NamedTuple):
    kind: str
    text: str
    column: int


class Comparison(NamedTuple):
    """A part of an expression: whether a property of a run is equal to a value, for example."""

    name: str
    wanted: float | str
    condition: Condition


def filter_runs(text: str, runs: Sequence[Properties]) -> list[int]:
    """
    Return the indices of the runs that match an expression; all if it is blank.

    runs:   the properties of each run
    raises: WhereError with the column of the mistake
    """
    return filter_rows(text, runs, _read_number)


def filter_rows(text: str, rows: Sequence[Mapping[str, Any]], read_number: ReadNumber) -> list[int]:
    """
    Return the indices of the rows of any table that match an expression; all if it is blank.

    rows:        the values of each row: text, numbers or None
    read_number: reads the number to compare a property with
    raises:      WhereError with the column of the mistake
    """
    if not text.strip():
        return list(range(len(rows)))
    try:
        condition = _Parser(text, rows, read_number).parse()
        return [i for i, row in enumerate(rows) if condition(row)]
    except RecursionError:
        raise WhereError(1, "too many nested brackets or 'not'") from None


def list_named(text: str, runs: Sequence[Properties]) -> list[str]:
    """Return the properties that a valid expression names."""
    return list(dict.fromkeys(x.name for x in _list_comparisons(text, runs)))


def describe_nearest(text: str, runs: Sequence[Properties]) -> str:
    """
    Return the values nearest to those of an expression that matches no run; "" if there are none.

    They are those of the comparisons that match no run by themselves, or else of all.
    """
    comparisons = _list_comparisons(text, runs)
    failing = [x for x in comparisons if not any(map(x.condition, runs))] or comparisons
    found: dict[str, list[Value]] = {}
    for name, wanted, _ in failing:
        values = {x for run in runs if (x := run.get(name)) is not None}
        if isinstance(wanted, str):
            near = find_near(wanted, map(str, values))
        else:
            near = [
                *sorted(x for x in values if x <= wanted)[-1:],
                *sorted(x for x in values if x >= wanted)[:1],
            ]
        found[name] = [*found.get(name, []), *near]
    parts = {name: ", ".join(map(format_value, dict.fromkeys(x))) for name, x in found.items() if x}
    return "; ".join(f"nearest {name}: {values}" for name, values in parts.items())


def _list_comparisons(text: str, runs: Sequence[Properties]) -> list[Comparison]:
    if not text.strip():
        return []
    parser = _Parser(text, runs, _read_number)
    parser.parse()
    return parser.comparisons


def _read_number(name: str, text: str) -> float | None:
    return float(text) if NUMBER.fullmatch(text) else None


def _split_tokens(text: str) -> list[Token]:
    tokens, end, text = [], 0, text.rstrip()
    while end < len(text):
        match = TOKEN.match(text, end)
        if not match:
            rest = text[end:].lstrip()
            hint = "'=' is not a comparison; write ==" if rest[0] == "=" else None
            raise WhereError(len(text) - len(rest) + 1, hint or f"unexpected {rest[0]!r}")
        kind = match.lastgroup
        tokens.append(Token(kind, match[kind], match.start(kind) + 1))
        end = match.end()
    return [*tokens, Token("end", "", len(text) + 1)]


def _unquote(token: Token) -> str:
    return token.text[1:-1] if token.kind == "quoted" else token.text


class _Parser:
    """Recursive descent: or, and, not, comparison."""

    def __init__(self, text: str, runs: Sequence[Mapping[str, Any]], read_number: ReadNumber):
        self.tokens = _split_tokens(text)
        self.read_number = read_number
        self.runs = runs
        self.properties = list(dict.fromkeys(name for properties in runs for name in properties))
        self.comparisons: list[Comparison] = []

    def parse(self) -> Condition:
        condition = self._parse_or()
        if self.tokens[0].kind != "end":
            raise self._expect("'and' or 'or'")
        return condition

    def _parse_or(self) -> Condition:
        parts = [self._parse_and()]
        while self._accept("or"):
            parts.append(self._parse_and())
        return lambda properties: any(part(properties) for part in parts)

    def _parse_and(self) -> Condition:
        parts = [self._parse_not()]
        while self._accept("and"):
            parts.append(self._parse_not())
        return lambda properties: all(part(properties) for part in parts)

    def _parse_not(self) -> Condition:
        if self._accept("not"):
            part = self._parse_not()
            return lambda properties: not part(properties)
        if self._accept("("):
            part = self._parse_or()
            if not self._accept(")"):
                raise self._expect("')'")
            return part
        return self._parse_comparison()

    def _parse_comparison(self) -> Condition:
        token = self.tokens[0]
        if token.kind not in ("word", "quoted") or token.text in KEYWORDS:
            raise self._expect("a property")
        self.tokens.pop(0)
        name = _unquote(token)
        if self.runs and name not in self.properties:
            raise WhereError(token.column, say_unknown_property(name, self.properties))
        if self.tokens[0].kind != "sign":
            raise self._expect(f"one of {' '.join(SIGNS)}")
        sign = self.tokens.pop(0)
        token = self.tokens[0]
        if token.kind not in ("word", "quoted") or token.text in KEYWORDS:
            raise self._expect("a value")
        self.tokens.pop(0)
        return self._compare(name, sign, token)

    def _compare(self, name: str, sign: Token, token: Token) -> Condition:
        text = _unquote(token)
        present = [x for run in self.runs if (x := run.get(name)) is not None]
        is_number = bool(present) and not any(isinstance(x, str) for x in present)
        if is_number and sign.text == "~":
            raise WhereError(sign.column, f"~ searches text; {name} is a number")
        wanted = self.read_number(name, text) if is_number else text
        if wanted is None:
            raise WhereError(token.column, f"{name} is a number, got {text!r}")
        if present and not is_number and sign.text in ("<", "<=", ">", ">="):
            raise WhereError(sign.column, f"{name} is text, which {sign.text} can't compare")
        compare = SIGNS[sign.text]

        def condition(properties: Properties) -> bool:
            value = properties.get(name)
            return value is not None and compare(value, wanted)

        self.comparisons.append(Comparison(name, wanted, condition))
        return condition

    def _accept(self, text: str) -> bool:
        if self.tokens[0].kind in ("word", "bracket") and self.tokens[0].text == text:
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, what: str) -> WhereError:
        token = self.tokens[0]
        got = "the end" if token.kind == "end" else repr(token.text)
        return WhereError(token.column, f"expected {what}, got {got}")
