"""Remembers what Jinja compiles, for as long as a process lives.

To Copier each render is the first: it compiles the same thousand strings, which takes longer than
rendering them. What is compiled depends on the text and the environment's settings alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

import jinja2

CODE: dict[tuple[Any, ...], CodeType] = {}
LIKENESS: WeakKeyDictionary[jinja2.Environment, tuple[Any, ...]] = WeakKeyDictionary()
SYNTAX = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
    "optimized",
    "finalize",
    "autoescape",
)
compile_anew: Any = jinja2.Environment.compile


def remember() -> None:
    """Have all environments of this process compile a text once."""
    jinja2.Environment.compile = compile_once  # type: ignore[method-assign]


def compile_once(
    self: jinja2.Environment,
    source: Any,
    name: str | None = None,
    filename: str | None = None,
    raw: bool = False,
    defer_init: bool = False,
) -> Any:
    """Do what jinja2.Environment.compile does, but once for a text and environments alike."""
    if raw or not isinstance(source, str):
        return compile_anew(self, source, name, filename, raw, defer_init)
    if self not in LIKENESS:
        LIKENESS[self] = likeness(self)
    key = (LIKENESS[self], source, name, defer_init)
    if key not in CODE:
        CODE[key] = compile_anew(self, source, name, filename, raw, defer_init)
    else:
        self.preprocess(source, name, filename)  # Copier's `yield` starts anew with each text
    # Copier's clones have other paths each time, which messages name.
    return CODE[key].replace(co_filename=filename or "<template>")


def likeness(environment: jinja2.Environment) -> tuple[Any, ...]:
    """Return what a compiled template depends on besides its text."""
    syntax = (getattr(environment, option) for option in SYNTAX)
    # Filters and tests of constants are computed when a template is compiled.
    functions = *names_of(environment.filters), *names_of(environment.tests)
    return type(environment), *environment.extensions, *syntax, functions


def names_of(functions: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return what is called what; extensions define theirs anew for each environment."""
    for name, function in functions.items():
        whole = function.func if isinstance(function, partial) else function
        yield name, getattr(whole, "__qualname__", whole)
