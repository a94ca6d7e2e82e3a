"""A module's text as reStructuredText: docstring, data, functions, classes, in their order."""

import ast
import inspect
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from .docstrings import format_docstring

MAX_VALUE = 80
"""Longer values of data are left out."""

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
ASSIGNMENTS = ast.Assign | ast.AnnAssign
OPTIONS = {
    "staticmethod": "staticmethod", "classmethod": "classmethod", "abstractmethod": "abstractmethod"
}  # fmt: skip
"""Options of `py:method` by decorators."""

PROPERTIES = {"property", "cached_property"}
RECORDS = {"dataclass", "NamedTuple"}
"""Decorators and bases whose classes are called with the values of their fields."""


class Names(ast.NodeTransformer):
    """
    Writes the names in annotations in full, marked to be shown by their last part.

    names: what the names in a module stand for
    """

    def __init__(self, names: Mapping[str, str]):
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._write(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self._write(node)

    def _write(self, node: ast.expr) -> ast.expr:
        first, dot, rest = ast.unparse(node).partition(".")
        known = self.names.get(first)
        return ast.parse(f"~{known}{dot}{rest}", mode="eval").body if known else node

    def resolve(self, annotation: ast.expr) -> ast.expr:
        """Return an annotation in full, without quotes around all of it."""
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = ast.parse(annotation.value, mode="eval").body
        return self.visit(annotation)

    def unparse(self, annotation: ast.expr | None) -> str:
        return ast.unparse(self.resolve(annotation)) if annotation else ""


def list_names(module: ast.Module, name: str) -> dict[str, str]:
    """Return what a module imports and the classes that it defines, in full, by their names."""
    names = {x.name: f"{name}.{x.name}" for x in module.body if isinstance(x, ast.ClassDef)}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {x.asname: x.name for x in node.names if x.asname}
            names |= {x.name.partition(".")[0]: x.name.partition(".")[0] for x in node.names
                      if not x.asname}  # fmt: skip
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")[: -node.level] if node.level else []
            origin = ".".join([*parts, *([node.module] if node.module else [])])
            names |= {x.asname or x.name: f"{origin}.{x.name}" for x in node.names}
    return names


class Line(NamedTuple):
    """A line of reStructuredText, and the file and the line, from 0, that it is from."""

    text: str
    source: str
    number: int


def read_module(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), path.name)


def describe_module(name: str, path: Path) -> list[Line]:
    """Return a module's docstring and the descriptions of its public members that have one."""
    module = read_module(path)
    start = [Line(f".. py:module:: {name}", str(path), 0), Line("", str(path), 0)]
    names = Names(list_names(module, name))
    return [*start, *describe_docstring(module, path), *_describe_members(module, path, "", names)]


def describe_docstring(node: ast.AST, path: Path, indent: str = "") -> list[Line]:
    """Return the docstring of a module, class or function."""
    text = ast.get_docstring(node) or ""
    number = getattr(node, "lineno", 1) - 1
    return [Line(f"{indent}{x}".rstrip(), str(path), number) for x in _format(text)]


def _format(docstring: str) -> list[str]:
    return format_docstring(docstring.splitlines())


def _describe_members(
    owner: ast.Module | ast.ClassDef, path: Path, indent: str, names: Names
) -> list[Line]:
    public = _find_all(owner)
    lines, seen = [], set()
    for node, docstring in _list_documented(owner.body):
        name = _get_name(node)
        if name.startswith("_") or name in seen or (public is not None and name not in public):
            continue
        seen.add(name)
        is_method = isinstance(owner, ast.ClassDef)
        head = _describe_head(node, names, is_method=is_method)
        for text in (*head, "", *(f"   {x}" for x in docstring)):
            lines.append(Line(f"{indent}{text}".rstrip(), str(path), node.lineno - 1))
        if isinstance(node, ast.ClassDef):
            lines += _describe_members(node, path, indent + "   ", names)
    return lines


def _find_all(owner: ast.Module | ast.ClassDef) -> list[str] | None:
    """Return a module's `__all__`, None if it has none."""
    for node in owner.body:
        if isinstance(node, ast.Assign) and _get_name(node) == "__all__":
            return ast.literal_eval(node.value)
    return None


def _list_documented(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, list[str]]]:
    """Yield what has a docstring, also in branches, with the formatted docstring."""
    for node, after in zip_longest(body, body[1:]):
        if isinstance(node, ast.If | ast.Try):
            yield from _list_documented(node.body)
            yield from _list_documented(node.orelse)
        elif isinstance(node, ast.ClassDef | FUNCTIONS) and not _is_setter(node):
            if docstring := ast.get_docstring(node):
                yield node, _format(docstring)
        elif isinstance(node, ASSIGNMENTS) and (docstring := _read_string(after)):
            yield node, _format(inspect.cleandoc(docstring))


def _read_string(node: ast.stmt | None) -> str:
    """Return the text of a statement that is only a string, "" for others."""
    value = node.value if isinstance(node, ast.Expr) else None
    is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
    return value.value if is_text else ""


def _is_setter(node: ast.stmt) -> bool:
    return any(ast.unparse(x).endswith((".setter", ".deleter")) for x in node.decorator_list)


def _get_name(node: ast.stmt) -> str:
    if isinstance(node, ASSIGNMENTS):
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        return target.id if isinstance(target, ast.Name) else "_"
    return node.name


def _describe_head(node: ast.stmt, names: Names, *, is_method: bool) -> list[str]:
    """Return the directive that describes a member, with its options."""
    if isinstance(node, ast.ClassDef):
        is_error = any(x.endswith(("Error", "Warning", "Exception")) for x in _list_bases(node))
        kind = "exception" if is_error else "class"
        return [f".. py:{kind}:: {node.name}{_write_call(node, names)}"]
    if isinstance(node, ASSIGNMENTS):
        kind = "attribute" if is_method else "data"
        kind_of_value = names.unparse(getattr(node, "annotation", None))
        options = [f"   :type: {kind_of_value}"] if kind_of_value else []
        value = ast.unparse(node.value) if node.value else ""
        options += [f"   :value: {value}"] * (0 < len(value) <= MAX_VALUE)
        return [f".. py:{kind}:: {_get_name(node)}", *options]
    marks = _list_marks(node)
    returns = names.unparse(node.returns)
    if is_method and marks & PROPERTIES:
        options = [f"   :type: {returns}"] if returns else []
        return [f".. py:property:: {node.name}", *options]
    options = [f"   :{OPTIONS[x]}:" for x in OPTIONS if x in marks]
    options += ["   :async:"] * isinstance(node, ast.AsyncFunctionDef)
    is_bound = is_method and "staticmethod" not in marks
    call = _write_arguments(node.args, names, is_bound=is_bound)
    call += f" -> {returns}" if returns else ""
    return [f".. py:{'method' if is_method else 'function'}:: {node.name}{call}", *options]


def _list_marks(node: ast.ClassDef | FUNCTIONS) -> set[str]:
    """Return the names of decorators, without their packages and arguments."""
    called = (x.func if isinstance(x, ast.Call) else x for x in node.decorator_list)
    return {ast.unparse(x).rpartition(".")[2] for x in called}


def _list_bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(x).rpartition(".")[2] for x in node.bases]


def _write_call(node: ast.ClassDef, names: Names) -> str:
    """Return the arguments of a class, "" if it doesn't say them itself."""
    for x in node.body:
        if isinstance(x, ast.FunctionDef) and x.name == "__init__":
            return _write_arguments(x.args, names, is_bound=True)
    if not RECORDS & {*_list_marks(node), *_list_bases(node)}:
        return ""
    fields = [x for x in node.body if isinstance(x, ast.AnnAssign)]
    return f"({', '.join(_write_field(x, names) for x in fields if 'ClassVar' not in ast.dump(x))})"


def _write_field(field: ast.AnnAssign, names: Names) -> str:
    default = ast.unparse(field.value) if field.value else ""
    default = "..." if default.startswith("field(") else default
    text = f"{_get_name(field)}: {names.unparse(field.annotation)}"
    return f"{text} = {default}" if default else text


def _write_arguments(arguments: ast.arguments, names: Names, *, is_bound: bool) -> str:
    """Return arguments in parentheses, without the first one of a bound method."""
    if is_bound and (arguments.posonlyargs or arguments.args):
        (arguments.posonlyargs or arguments.args).pop(0)
    for node in ast.walk(arguments):
        if isinstance(node, ast.arg) and node.annotation:
            node.annotation = names.resolve(node.annotation)
    return f"({ast.unparse(arguments)})"
