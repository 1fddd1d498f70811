"""Reads Python files as text: what they import, and the plain values in them. Runs nothing."""

from __future__ import annotations

import ast
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from generator.errors import UserError

MAX_BYTES = 2_000_000
MAX_DEPTH = 50  # of names that stand for names
MAX_PARTS = 10_000  # of one value
MAX_NUMBER = 1e9
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "round": round,
    "len": len,
    "tuple": tuple,
    "list": list,
}


class UnreadableError(ValueError):
    """An expression whose value depends on more than the file says."""


@dataclass(frozen=True)
class Source:
    """A Python file.

    Attributes:
        path: where it is.
        name: as people know it, relative to the folder that is adopted.
        text: its content.
        tree: its syntax.
    """

    path: Path
    name: str
    text: str = field(repr=False)
    tree: ast.Module = field(repr=False)

    def at(self, node: ast.AST) -> str:
        """Return where a node is, as file:line."""
        return f"{self.name}:{getattr(node, 'lineno', 1)}"

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes, in the order of the lines."""
        found = [node for node in ast.walk(self.tree) if hasattr(node, "lineno")]
        return sorted(found, key=lambda node: (node.lineno, node.col_offset))  # type: ignore[attr-defined]

    @cached_property
    def imported(self) -> dict[str, str]:
        """Full names by the names that stand for them, as in {"T": "torchvision.transforms"}."""
        names = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    names[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{module}.{alias.name}"
        return names

    @cached_property
    def bindings(self) -> dict[str, list[ast.expr | None]]:
        """What is assigned to each name and each attribute of self; None for what is not plain."""
        found: dict[str, list[ast.expr | None]] = defaultdict(list)

        def bind(target: ast.AST, value: ast.expr | None, prefix: str = "") -> None:
            if isinstance(target, (ast.Tuple, ast.List)):
                for part in target.elts:
                    bind(part, None, prefix)
            elif name := chain(target):
                found[prefix + name].append(value)

        for node in self.nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    bind(target, node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                bind(node.target, node.value)
            elif isinstance(node, (ast.AugAssign, ast.For, ast.NamedExpr)):
                bind(node.target, None)
            elif isinstance(node, ast.arg):
                found[node.arg].append(None)
            elif isinstance(node, ast.ClassDef):
                for statement in node.body:  # an attribute of the class is one of self, too
                    if isinstance(statement, ast.Assign):
                        for target in statement.targets:
                            bind(target, statement.value, "self.")
        return found

    @cached_property
    def results(self) -> dict[int, list[str]]:
        """The names to which a call's result goes, by the id of the call's node."""
        found: dict[int, list[str]] = defaultdict(list)
        for name, values in self.bindings.items():
            for value in filter(None, values):
                for node in ast.walk(value):
                    if isinstance(node, ast.Call):
                        found[id(node)].append(name)
        return found

    def only(self, name: str) -> ast.expr | None:
        """Return the one expression that is ever assigned to a name, else None."""
        values = self.bindings.get(name, [])
        return values[0] if len(values) == 1 else None

    def full_name(self, node: ast.AST) -> str:
        """Return the full name of a function or class, as in torchvision.models.resnet18, or ""."""
        first, dot, rest = chain(node).partition(".")
        if first in ("", "self"):
            return ""
        return self.imported.get(first, first) + dot + rest

    def value(self, node: ast.AST | None) -> Any:
        """Return the plain value of an expression: numbers, texts, lists, tuples, dicts.

        Raises:
            UnreadableError: It depends on what is not a plain value in this file.
        """
        parts = 0

        def of(node: ast.AST | None, depth: int) -> Any:
            nonlocal parts
            parts += 1
            if depth > MAX_DEPTH or parts > MAX_PARTS:
                raise UnreadableError
            match node:
                case ast.Constant(value=None | bool() | int() | float() | str() as value):
                    return value
                case ast.Tuple(elts=elements):
                    return tuple(of(element, depth + 1) for element in elements)
                case ast.List(elts=elements):
                    return [of(element, depth + 1) for element in elements]
                case ast.Dict(keys=keys, values=values):
                    pairs = zip(keys, values, strict=True)
                    return dictionary([(of(k, depth + 1), of(v, depth + 1)) for k, v in pairs])
                case ast.UnaryOp(op=ast.USub(), operand=operand):
                    return -number(of(operand, depth + 1))
                case ast.BinOp(left=left, op=operation, right=right):
                    one, other = of(left, depth + 1), of(right, depth + 1)
                    if isinstance(operation, ast.Mult) and isinstance(one, (list, tuple)):
                        return repeat(one, other)
                    return calculate(number(one), operation, number(other))
                case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]):
                    if name not in FUNCTIONS or name in self.bindings:
                        raise UnreadableError
                    return call(FUNCTIONS[name], of(inner, depth + 1))
                case ast.Name() | ast.Attribute():
                    return of(self.only(chain(node)), depth + 1)
            raise UnreadableError

        return of(node, 0)

    def value_or(self, node: ast.AST | None, default: Any) -> Any:
        """Return the plain value of an expression, or the default if it has none."""
        try:
            return self.value(node)
        except UnreadableError:
            return default

    def classes(self) -> Iterator[ast.ClassDef]:
        """Yield the classes at the top."""
        yield from (node for node in self.tree.body if isinstance(node, ast.ClassDef))


def read_source(path: Path, root: Path) -> Source:
    """Read a Python file.

    Args:
        path: The file.
        root: The folder to which its name is relative.

    Raises:
        UserError: It is no Python 3.
    """
    name = relative(path, root)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{name} has more than {MAX_BYTES:,} bytes; expected Python code")
        text = path.read_text(encoding="utf-8-sig")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\d": it is not our code
            return Source(path, name, text, ast.parse(text))
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror or error}") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f"{name}:{line}" if line else name
        raise UserError(f"{where} is no Python 3: {error}") from error


def relative(path: Path, root: Path) -> str:
    """Return a path as people see it from the folder."""
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.as_posix()


def chain(node: ast.AST | None) -> str:
    """Return names with dots and constant indices between them, as in self.model.fc; else ""."""
    parts: list[str] = []
    while True:
        match node:
            case ast.Attribute(value=inner, attr=name):
                parts.append(name)
            case ast.Subscript(value=inner, slice=ast.Constant(value=int() | str() as index)):
                parts.append(str(index))
            case ast.Subscript(
                value=inner,
                slice=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as index)),
            ):
                parts.append(str(-index))
            case ast.Name(id=name):
                parts.append(name)
                return ".".join(reversed(parts))
            case _:
                return ""
        node = inner


def dictionary(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return a dict.

    Raises:
        UnreadableError: A key cannot be one.
    """
    try:
        return dict(pairs)
    except TypeError:
        raise UnreadableError from None


def call(function: Callable[[Any], Any], value: Any) -> Any:
    """Return what a function of FUNCTIONS makes of a value.

    Raises:
        UnreadableError: Nothing.
    """
    try:
        return function(value)
    except (TypeError, ValueError, OverflowError):
        raise UnreadableError from None


def number(value: Any) -> int | float:
    """Return a value that is a number.

    Raises:
        UnreadableError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > MAX_NUMBER:
        raise UnreadableError
    return value


def repeat(values: list[Any] | tuple[Any, ...], times: Any) -> list[Any] | tuple[Any, ...]:
    """Return [0.5] * 3 and the like.

    Raises:
        UnreadableError: It is not repeated a few times.
    """
    if type(times) is not int or not 0 <= times * len(values) <= MAX_PARTS:
        raise UnreadableError
    return values * times


def calculate(one: float, operation: ast.operator, other: float) -> float:
    """Return the result of one of the four basic operations.

    Raises:
        UnreadableError: It is another, or has no result.
    """
    try:
        match operation:
            case ast.Add():
                return one + other
            case ast.Sub():
                return one - other
            case ast.Mult():
                return one * other
            case ast.Div():
                return one / other
            case ast.FloorDiv():
                return one // other
    except ZeroDivisionError:
        pass
    raise UnreadableError


def argument(call: ast.Call, position: int, *names: str) -> ast.expr | None:
    """Return an argument of a call, given by position or by one of its names; None if absent."""
    for keyword in call.keywords:
        if keyword.arg in names:
            return keyword.value
    if any(isinstance(x, ast.Starred) for x in call.args[: position + 1]):
        return None
    return call.args[position] if 0 <= position < len(call.args) else None


def calls_of(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    """Yield the calls among nodes."""
    yield from (node for node in nodes if isinstance(node, ast.Call))


def called(call: ast.Call) -> str:
    """Return the last part of what a call calls, as in softmax for F.softmax(x) and x.softmax(1).

    For nn.Softmax(dim=1)(x) it is "": the inner call has the name.
    """
    name = chain(call.func).rpartition(".")[2]
    return name or str(getattr(call.func, "attr", ""))
