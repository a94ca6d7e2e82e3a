"""
Typed models whose values come from NestedText, with an error for each mistake at its place.

A NestedText file holds only text, lists and mappings. `check_model` turns what `located.py` read
into a `TextModel` and a list of `Problem`. Nothing here knows of hyperparameters or run records.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import annotated_types
import nestedtext as nt
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic_core import core_schema

from .located import Located, Problem, show_value
from .suggest import find_near, say_unknown, suggest_key


class Noun(str):
    """The name of a type in an error message, e.g. `Annotated[int, Noun("an odd integer")]`."""


class Hint(ValueError):
    """Raised by a validator with more than the expected type; shown behind it."""


@dataclass(frozen=True)
class Incomparable:
    """
    Marks a key in which runs must agree to be compared by some metrics.

    metrics: parts of the metrics' names, such as `val.`; "" stands for all metrics
    why:     reason that is shown for runs that differ
    also:    properties of a run's record that must agree too
    """
    metrics: tuple[str, ...]
    why: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)  # hashable, although mappings aren't
class Unit:
    """
    Allows a unit after a number, e.g. `Annotated[float, Unit({"Å": 1, "nm": 10})]`.

    factors: factor of each unit; 1 for the unit of a number without one
    """
    factors: Mapping[str, float]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._convert, handler(source))

    def _convert(self, value: object) -> object:
        for unit, factor in self.factors.items():
            if isinstance(value, str) and value.endswith(unit):
                number = value.removesuffix(unit).strip()
                # In decimals, so that 0.3 nm is exactly 3 Å.
                if factor == 1:
                    return number
                _parse_float(number)
                return float(Decimal(number) * Decimal(str(factor)))
        return value


def _parse_int(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError


def _parse_float(value: object) -> float:
    number = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
    if isinstance(value, str) and not re.fullmatch(number, value.strip()):
        raise ValueError
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError
    if not math.isfinite(float(value)):
        raise ValueError
    return float(value)


def _parse_bool(value: object) -> object:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError


Int = Annotated[int, BeforeValidator(_parse_int)]
Float = Annotated[float, BeforeValidator(_parse_float)]
Bool = Annotated[bool, BeforeValidator(_parse_bool)]


class TextModel(BaseModel):
    """
    A strict, frozen model whose values come as text.

    A missing or empty section has its defaults, so that errors report missing keys, never missing
    sections.
    """
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _fill_sections(cls, values: Any) -> Any:
        if values == "":
            values = {}
        if not isinstance(values, dict):
            return values
        sections = {k: {} for k, f in cls.model_fields.items() if _is_model(f.annotation)}
        return sections | values


ModelT = TypeVar("ModelT", bound=TextModel)


def check_model(
        model_class: type[ModelT], values: Located, whole: str = "the file",
        also: Iterable[str] = ()) -> tuple[ModelT | None, list[Problem]]:
    """
    Return the model that `values` describe, or None, and everything that is wrong with them.

    whole: name of all values together, for errors
    also:  keys that are read elsewhere, to suggest for unknown ones
    """
    try:
        return model_class.model_validate(values.plain), []
    except ValidationError as err:
        errors = err.errors(include_url=False)

    problems, meant = [], set()
    for detail in errors:
        if detail["type"] != "extra_forbidden":
            continue
        *parents, key = detail["loc"]
        section = _find_type(model_class, parents)[0]
        known = [*section.model_fields, *([] if parents else also)]
        dotted = [name for name, _ in iter_keys(section) if "." in key and "." in name]
        if near := find_near(key, dotted, 1):  # as a grid would have it
            above, _, leaf = near[0].rpartition(".")
            text = f"key '{name_key(detail['loc'])}' is unknown; write '{leaf}:' below '{above}:'"
            meant.add(name_key((*parents, *near)))
        else:
            suggestion = suggest_key(key, known, dict(iter_keys(model_class)))
            meant.add(name_key((*parents, suggestion)) if suggestion in known else suggestion)
            text = say_unknown(name_key(detail["loc"]), suggestion, known)
        problems.append(Problem(_find(values, detail["loc"]).key_place, text))

    for detail in errors:
        loc, name = detail["loc"], name_key(detail["loc"])
        if detail["type"] == "missing":
            # A misspelled key is one mistake, not two.
            if not any(name == m or name.startswith(f"{m}.") for m in meant if m):
                place = _find(values, loc[:-1]).key_place
                problems.append(Problem(place, f"{name} is missing", missing=name))
        elif detail["type"] == "too_short" and any(x["loc"][:-1] == loc for x in errors):
            continue  # pydantic counts the valid items only; the others have their own errors
        elif detail["type"] != "extra_forbidden":
            found = _find(values, loc)
            annotation, metadata = _find_type(model_class, loc)
            expected = describe_type(annotation, metadata)
            text = f"{name or whole}: expected {expected}, got {show_value(found.plain)}"
            if isinstance(found.content, str) and found.content[:1] in ("[", "{"):
                text += "; inline lists and mappings begin on the line below their key"
            elif has_comment(found.content):
                text += f"; {COMMENT_HINT}"
            elif unwrap(annotation) in (int, float) and _is_expression(found.content):
                text += "; expressions aren't computed: give the number"
            elif isinstance(hint := detail.get("ctx", {}).get("error"), Hint):
                text += f"; {hint}"
            problems.append(Problem(found.place, text))
    return None, problems


def dump_model(model: TextModel) -> str:
    """Return NestedText with all values of a model; None is blank."""
    texts = {bool: lambda value: str(value).lower()}
    return nt.dumps(model.model_dump(), indent=2, converters=texts) + "\n"


def annotate(field: Any) -> Any:
    """Return the annotation of a pydantic field, with the field's bounds and other marks."""
    annotation = field.annotation
    for mark in field.metadata:
        annotation = Annotated[annotation, mark]
    return annotation


def name_key(loc: Iterable[str | int]) -> str:
    """Return the dotted name of a key, list items as in `model.layers[1]`."""
    return "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in loc).lstrip(".")


def describe_type(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return the values that a field takes, in words, with bounds: `a number > 0`."""
    metadata = list(metadata)
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        return describe_type(annotation, [*inner, *metadata])
    args = get_args(annotation)
    nouns = [x for x in metadata if isinstance(x, Noun)]
    if nouns:
        text = nouns[-1]
    elif _is_model(annotation):
        text = f"the keys {', '.join(annotation.model_fields)}"
    elif get_origin(annotation) is Literal:
        text = "one of " + ", ".join(f"'{x}'" for x in args)
    elif get_origin(annotation) in (Union, UnionType):
        text = " or ".join(
            "nothing" if x is NoneType else describe_type(x) for x in args)
    elif get_origin(annotation) in (tuple, list):
        full = any(isinstance(x, annotated_types.MinLen) for x in metadata)
        text = f"a list{' that is not empty' * full}, each item {describe_type(args[0])}"
    else:
        names = {int: "an integer", float: "a number", bool: "true or false", dict: "keys"}
        text = names.get(get_origin(annotation) or annotation, "text")
    signs = {annotated_types.Ge: ">= {0.ge}", annotated_types.Gt: "> {0.gt}",
             annotated_types.Le: "<= {0.le}", annotated_types.Lt: "< {0.lt}"}
    bounds = [signs[type(x)].format(x) for x in metadata if type(x) in signs]
    return " ".join([text, " and ".join(bounds)]).strip()


def iter_keys(model_class: type[TextModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return the dotted name and the pydantic field of each key, in the order of the schema."""
    for name, field in model_class.model_fields.items():
        if _is_model(field.annotation):
            yield from iter_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


COMMENT_HINT = "comments need their own line"


def has_comment(content: Any) -> bool:
    """Return whether a text ends in what looks like a comment."""
    return isinstance(content, str) and re.search(r"\s#", content) is not None


# An operator between operands, brackets, or the signs of variables and formulas.
_EXPRESSION = re.compile(r"[\d.]\s*[-+*/^%]+\s*[\w(.]|[(){}$=]")


def _is_expression(content: Any) -> bool:
    return isinstance(content, str) and _EXPRESSION.search(content) is not None


def unwrap(annotation: Any) -> Any:
    """Return the type of a key's values, without its marks, and without None if it may be blank."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(x for x in get_args(annotation) if x is not NoneType)
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, TextModel)


def _find_type(model_class: type[TextModel], loc: Iterable[str | int]) -> tuple[Any, list]:
    annotation, metadata = model_class, []
    for key in loc:
        annotation = unwrap(annotation)
        if _is_model(annotation) and key in annotation.model_fields:
            field = annotation.model_fields[key]
            annotation, metadata = field.annotation, list(field.metadata)
        elif get_origin(annotation) in (tuple, list, dict):
            annotation, metadata = get_args(annotation)[get_origin(annotation) is dict], []
    return annotation, metadata


def _find(values: Located, loc: Iterable[str | int]) -> Located:
    for key in loc:
        try:
            values = values.content[key]
        except (KeyError, IndexError, TypeError):
            break
    return values
