"""Reads Python files as text: what they import, and the plain values in them. Runs nothing."""

from __future__ import annotations

import ast
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
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
# What makes arrays and tensors of numbers, and methods that leave their values and their order.
ARRAYS = {
    "numpy.array", "numpy.asarray", "numpy.float32", "numpy.float64", "torch.tensor",
    "torch.as_tensor", "torch.Tensor", "torch.FloatTensor", "torch.from_numpy",
}  # fmt: skip
UNCHANGED = {
    "astype", "clone", "contiguous", "copy", "cpu", "cuda", "double", "flatten", "float", "numpy",
    "reshape", "squeeze", "to", "tolist", "type", "unsqueeze", "view",
}  # fmt: skip
# Names that people import, with the values that they have there.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMPORTED: dict[str, Any] = {
    "IMAGENET_DEFAULT_MEAN": IMAGENET_MEAN,
    "IMAGENET_DEFAULT_STD": IMAGENET_STD,
    "IMAGENET_INCEPTION_MEAN": (0.5, 0.5, 0.5),
    "IMAGENET_INCEPTION_STD": (0.5, 0.5, 0.5),
    "OPENAI_CLIP_MEAN": CLIP_MEAN,
    "OPENAI_CLIP_STD": CLIP_STD,
}


class UnreadableError(ValueError):
    """An expression whose value depends on more than the file says."""


class Numbers(tuple[Any, ...]):
    """An array or a tensor of numbers: arithmetic goes through all of them."""


@dataclass(frozen=True)
class Source:
    """A Python file.

    Attributes:
        path: where it is.
        name: as people know it, relative to the folder that is adopted.
        text: its content.
        tree: its syntax.
        modules: the user's own modules, by name, for the constants that it imports from them.
    """

    path: Path
    name: str
    text: str = field(repr=False)
    tree: ast.Module = field(repr=False)
    modules: dict[str, Source] = field(default_factory=dict, repr=False, compare=False)

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
                found[node.arg].append(self.always.get(id(node)))
            elif isinstance(node, ast.ClassDef):
                for statement in node.body:  # an attribute of the class is one of self, too
                    targets: list[ast.expr] = []
                    if isinstance(statement, ast.Assign):
                        targets = statement.targets
                    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                        targets = [statement.target]
                    for target in targets:
                        assert isinstance(statement, (ast.Assign, ast.AnnAssign))
                        for prefix in ("self.", f"{node.name}."):
                            bind(target, statement.value, prefix)
        return found

    @cached_property
    def always(self) -> dict[int, ast.expr]:
        """The defaults of parameters that every call in the file leaves at them, by their nodes."""
        calls: dict[str, list[ast.Call]] = defaultdict(list)
        for call in calls_of(self.nodes):
            calls[chain(call.func).removeprefix("self.")].append(call)
        found: dict[int, ast.expr] = {}
        for node in self.nodes:
            if not isinstance(node, ast.FunctionDef) or not calls[node.name]:
                continue
            names = [*node.args.posonlyargs, *node.args.args]
            defaults = node.args.defaults
            is_method = bool(names) and names[0].arg == "self"
            pairs = list(zip(names[len(names) - len(defaults) :], defaults, strict=True))
            for parameter, default in pairs:
                position = names.index(parameter) - is_method
                if not any(is_given(call, position, parameter.arg) for call in calls[node.name]):
                    found[id(parameter)] = default
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

        Arrays and tensors are `Numbers`. Constants of the user's own modules count.

        Raises:
            UnreadableError: It depends on what is not a plain value there.
        """
        return Evaluation().of(self, node, {}, 0)

    def value_or(self, node: ast.AST | None, default: Any) -> Any:
        """Return the plain value of an expression, or the default if it has none."""
        try:
            return self.value(node)
        except UnreadableError:
            return default

    def classes(self) -> Iterator[ast.ClassDef]:
        """Yield the classes at the top."""
        yield from (node for node in self.tree.body if isinstance(node, ast.ClassDef))


class Evaluation:
    """The reading of one value, which has an end whatever the files hold."""

    def __init__(self) -> None:
        self.parts = 0

    def of(self, source: Source, node: ast.AST | None, local: Mapping[str, Any], depth: int) -> Any:
        """Return the plain value of an expression.

        Args:
            source: The file with it.
            node: It.
            local: Values of the names that a comprehension around it binds.
            depth: Of names that stand for names, and of parts in parts.

        Raises:
            UnreadableError: It has none.
        """
        self.parts += 1
        if self.parts > MAX_PARTS or depth > MAX_DEPTH:
            raise UnreadableError

        def inner(part: ast.AST | None) -> Any:
            return self.of(source, part, local, depth + 1)

        match node:
            case ast.Constant(value=None | bool() | int() | float() | str() as value):
                return value
            case ast.Name(id=name) if name in local:
                return local[name]
            case ast.Tuple(elts=elements):
                return tuple(map(inner, elements))
            case ast.List(elts=elements):
                return list(map(inner, elements))
            case ast.Dict(keys=keys, values=values):
                return dictionary([(inner(k), inner(v)) for k, v in zip(keys, values, strict=True)])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -number(inner(operand))
            case ast.BinOp(left=left, op=operation, right=right):
                return combine(inner(left), operation, inner(right))
            case (
                ast.ListComp(
                    elt=element,
                    generators=[ast.comprehension(target=ast.Name(id=name), iter=items, ifs=[])],
                )
                | ast.GeneratorExp(
                    elt=element,
                    generators=[ast.comprehension(target=ast.Name(id=name), iter=items, ifs=[])],
                )
            ):
                values = inner(items)
                if not isinstance(values, (list, tuple)):
                    raise UnreadableError
                return [self.of(source, element, {**local, name: x}, depth + 1) for x in values]
            case ast.Subscript(value=values, slice=index) if not chain(node):
                return self.part(source, inner(values), index, local, depth)
            case ast.Call():
                return self.called(source, node, inner)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self.named(source, node, local, depth)
        raise UnreadableError

    def called(self, source: Source, node: ast.Call, inner: Callable[[ast.AST], Any]) -> Any:
        """Return what a call makes of plain values.

        Raises:
            UnreadableError: It is of another function.
        """
        match node:
            case ast.Call(func=ast.Name(id=name), args=[only], keywords=[]) if (
                name in FUNCTIONS and name not in source.bindings
            ):
                return call(FUNCTIONS[name], inner(only))
            case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
                return {str(x.arg): inner(x.value) for x in keywords}
            case ast.Call(args=[values, *_]) if source.full_name(node.func) in ARRAYS:
                return numbers(inner(values))
            case ast.Call(func=ast.Attribute(value=values, attr=name)) if name in UNCHANGED:
                return numbers(inner(values))
        raise UnreadableError

    def part(
        self, source: Source, values: Any, index: ast.AST, local: Mapping[str, Any], depth: int
    ) -> Any:
        """Return values[index]; slices of everything leave the values, [::-1] turns them around.

        Raises:
            UnreadableError: It is another slice, or there is no such part.
        """
        slices = index.elts if isinstance(index, ast.Tuple) else [index]
        texts = {ast.unparse(x) for x in slices}
        if isinstance(values, (list, tuple)) and texts == {"::-1"}:
            return type(values)(reversed(values))
        if isinstance(values, Numbers) and texts <= {":", "None", "..."}:
            return values
        try:
            return values[self.of(source, index, local, depth + 1)]
        except (KeyError, IndexError, TypeError):
            raise UnreadableError from None

    def named(self, source: Source, node: ast.AST, local: Mapping[str, Any], depth: int) -> Any:
        """Return the value of a name, in this file or in one of the user's own modules.

        Raises:
            UnreadableError: It is not assigned there once and for all.
        """
        name = chain(node)
        if name in source.bindings:
            return self.of(source, source.only(name), local, depth + 1)
        match node:
            case ast.Subscript(value=values, slice=index):
                container = self.of(source, values, local, depth + 1)
                return self.part(source, container, index, local, depth)
        first, _, rest = name.partition(".")
        full = source.full_name(node).lstrip(".")
        own = full.rpartition(".")[2]
        if own in IMPORTED and full.startswith("timm."):
            return IMPORTED[own]
        if first in source.imported:
            # config.MEAN of `from config import MEAN`, and config.Config.MEAN
            for count in range(1, full.count(".") + 1):
                parts = full.split(".")
                home = source.modules.get(parts[-count - 1])
                if home is not None and home is not source:
                    return self.named(home, expression(parts[-count:]), {}, depth + 1)
            raise UnreadableError
        match source.only(first):  # of an object of a class in this file
            case ast.Call(func=ast.Name(id=owner), args=[], keywords=[]) if rest:
                return self.of(source, expression([owner, *rest.split(".")]), local, depth + 1)
            case ast.Name(id=owner) if rest:
                return self.of(source, expression([owner, *rest.split(".")]), local, depth + 1)
        raise UnreadableError


def expression(names: list[str]) -> ast.expr:
    """Return the expression of names with dots between them."""
    return ast.parse(".".join(names), mode="eval").body


def is_given(call: ast.Call, position: int, name: str) -> bool:
    """Tell whether a call gives an argument, or may give it."""
    is_open = any(isinstance(x, ast.Starred) for x in call.args)
    return is_open or len(call.args) > position or any(x.arg in (name, None) for x in call.keywords)


def numbers(value: Any) -> Any:
    """Return the numbers of a list as an array of them, and one number as it is.

    Raises:
        UnreadableError: It is neither.
    """
    if isinstance(value, (list, tuple)):
        return Numbers(map(numbers, value))
    return number(value)


def combine(one: Any, operation: ast.operator, other: Any) -> Any:
    """Return the result of an operation on numbers, arrays of them, or lists.

    Raises:
        UnreadableError: It has none.
    """
    if isinstance(one, Numbers) or isinstance(other, Numbers):
        length = max(len(x) for x in (one, other) if isinstance(x, (list, tuple)))
        sides = [x if isinstance(x, (list, tuple)) else (x,) * length for x in (one, other)]
        if len(sides[0]) != len(sides[1]):
            raise UnreadableError
        return Numbers(combine(x, operation, y) for x, y in zip(*sides, strict=True))
    if isinstance(operation, ast.Mult) and isinstance(one, (list, tuple)):
        return repeat(one, other)
    if (
        isinstance(operation, ast.Add)
        and isinstance(one, (list, tuple))
        and type(one) is type(other)
    ):
        return [*one, *other] if isinstance(one, list) else (*one, *other)
    return calculate(number(one), operation, number(other))


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
