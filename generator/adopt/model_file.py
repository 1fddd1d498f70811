"""Writes service/model.py from the class of a network in the user's own code."""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
from collections.abc import Iterable
from pathlib import Path

from generator.adopt.networks import Maker
from generator.source import Source

BUILD = '''

def build_model(num_classes: int) -> {module}:
    """Return the untrained network: images (N, {channels}, H, W) to {output}."""
    return {call}
'''


def extended(own: Maker, channels: int, output: str) -> str:
    """Return the file of the class, with build_model at its end.

    Args:
        own: What makes the network.
        channels: Of the image.
        output: What the network returns, as in "scores (N, num_classes)".
    """
    head, module = with_module(own.source.text, own.source)
    build = BUILD.format(module=module, channels=channels, output=output, call=own.call)
    return head.rstrip("\n") + "\n" + build


def extracted(own: Maker, channels: int, output: str) -> str:
    """Return a module with the class, what it needs of its file, and build_model.

    Args:
        own: What makes the network.
        channels: Of the image.
        output: What the network returns, as in "scores (N, num_classes)".

    Raises:
        LookupError: The class needs a name that its file does not define.
    """
    source = own.source
    needed = definitions(source, own.name)
    lines = source.text.split("\n")  # as Python counts them
    imports = [x for x in needed if isinstance(x, (ast.Import, ast.ImportFrom))]
    rest = [x for x in needed if x not in imports]
    used = set().union(*(free_names(source, x) for x in rest))
    parts = [f'"""The network: {own.name} of {source.name}."""']
    parts += ["\n".join(reduced(x, used) for x in imports)] if imports else []
    parts += ["\n".join(["", *lines[first_line(x) - 1 : x.end_lineno]]) for x in rest]
    head, module = with_module("\n\n".join(parts) + "\n", source, imports)
    return head + BUILD.format(module=module, channels=channels, output=output, call=own.call)


def local_imports(statements: Iterable[ast.stmt], folder: Path) -> list[str]:
    """Return the user's own modules that statements import, which the archive must have, too."""
    names: set[str] = set()
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return sorted(f"{name}.py" for name in names if (folder / f"{name}.py").is_file())


def packages(tree: ast.Module, folder: Path) -> list[str]:
    """Return what a module imports beyond Python's own modules and the user's.

    Imports that may fail, in a try, are not needed.
    """
    tried = {
        id(node)
        for attempt in ast.walk(tree)
        if isinstance(attempt, ast.Try)
        for statement in attempt.body
        for node in ast.walk(statement)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in tried:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return sorted(
        name
        for name in names - sys.stdlib_module_names
        if not (folder / f"{name}.py").is_file() and not (folder / name).is_dir()
    )


def with_module(
    text: str, source: Source, imports: Iterable[ast.stmt] | None = None
) -> tuple[str, str]:
    """Return the text, with an import if it lacks one, and its name of torch.nn.Module."""
    names = imported_names(source.tree.body if imports is None else imports)
    for module, rest in (("torch.nn", ".Module"), ("torch.nn.Module", ""), ("torch", ".nn.Module")):
        if name := next((name for name, full in names.items() if full == module), ""):
            return text, f"{name}{rest}"
    lines = text.splitlines(keepends=True)
    after = 0
    for statement in ast.parse(text).body:
        is_docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        is_future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not (is_docstring or is_future):
            break
        after = statement.end_lineno or 0
    lines.insert(after, "\nfrom torch.nn import Module\n")
    return "".join(lines), "Module"


def imported_names(statements: Iterable[ast.stmt]) -> dict[str, str]:
    """Return full names by the names that imports bind."""
    names: dict[str, str] = {}
    for node in statements:
        if isinstance(node, ast.Import):
            names |= {
                a.asname or a.name: a.name for a in node.names if a.asname or "." not in a.name
            }
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def definitions(source: Source, name: str) -> list[ast.stmt]:
    """Return the statements at the top of a file that a class needs, itself among them, in order.

    Raises:
        LookupError: A name that it needs is not defined there, or not for sure.
    """
    needed: dict[int, ast.stmt] = {}
    asked, open_names = {name}, [name]
    while open_names:
        wanted = open_names.pop()
        homes = [x for x in source.tree.body if wanted in names_bound([x])]
        if not homes:
            stars = [x for x in source.tree.body if is_star(x)]
            if wanted in vars(builtins) or wanted in ("__name__", "__file__"):
                continue
            if not stars:
                raise LookupError(f"{source.name} does not define {wanted}")
            homes = stars
        for home in homes:
            if isinstance(home, ast.ImportFrom) and home.level:
                raise LookupError(f"{source.at(home)} imports from its own package")
            if id(home) not in needed:
                needed[id(home)] = home
                fresh = free_names(source, home) - asked
                asked |= fresh
                open_names += sorted(fresh)
    future = [
        x for x in source.tree.body if isinstance(x, ast.ImportFrom) and x.module == "__future__"
    ]
    return [x for x in source.tree.body if id(x) in needed or x in future]


def is_star(statement: ast.stmt) -> bool:
    """Tell whether it is from ... import *."""
    return isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*"


def names_bound(statements: Iterable[ast.stmt]) -> set[str]:
    """Return the names that statements bind at the top of a module."""
    names: set[str] = set()
    for statement in statements:
        match statement:
            case (
                ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
            ):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {a.asname or a.name.partition(".")[0] for a in aliases}
            case _:
                names |= {
                    x.id
                    for x in ast.walk(statement)
                    if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)
                }
                inner = (x for x in ast.walk(statement) if isinstance(x, ast.stmt))
                names |= {
                    name
                    for x in inner
                    if isinstance(x, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))
                    for name in names_bound([x])
                }
    return names


def free_names(source: Source, statement: ast.stmt) -> set[str]:
    """Return the names of the module that a statement reads.

    Raises:
        LookupError: It is no valid Python.
    """
    text = "\n".join(source.text.split("\n")[first_line(statement) - 1 : statement.end_lineno])
    try:
        table = symtable.symtable(text, source.name, "exec")
    except SyntaxError as error:
        raise LookupError(f"{source.at(statement)}: {error.msg}") from error
    names: set[str] = set()
    tables = [table]
    while tables:
        one = tables.pop()
        tables += one.get_children()
        is_top = one.get_type() == "module"
        names |= {
            symbol.get_name()
            for symbol in one.get_symbols()
            if symbol.is_referenced() and (is_top or symbol.is_global())
        }
    return names


def first_line(statement: ast.stmt) -> int:
    """Return the line on which a statement begins, with its decorators."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(x.lineno for x in decorators)])


def reduced(statement: ast.stmt, used: set[str]) -> str:
    """Return an import without the names that are not used."""
    assert isinstance(statement, (ast.Import, ast.ImportFrom))
    is_future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
    if is_future or is_star(statement):
        return ast.unparse(statement)
    names = [a for a in statement.names if (a.asname or a.name.partition(".")[0]) in used]
    if isinstance(statement, ast.Import):
        return ast.unparse(ast.Import(names))
    return ast.unparse(ast.ImportFrom(statement.module, names, statement.level))
