"""Remembers what Jinja compiles and YAML parses, for as long as a process lives.

To Copier each render is the first: it compiles the same thousand strings and parses the same files,
which takes longer than rendering them. What is compiled depends on the text and the environment's
settings alone, what is parsed on the text. All else of a render is done anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache, partial
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

import jinja2
import yaml

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
PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C, if it was built
compile_anew: Any = jinja2.Environment.compile
load_anew: Any = yaml.load_all
load_one_anew: Any = yaml.load


def remember() -> None:
    """Have this process compile and parse a text once."""
    jinja2.Environment.compile = compile_once  # type: ignore[method-assign]
    yaml.load_all = load_once
    yaml.load = load_one_once


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


@cache
def nodes_of(text: bytes) -> list[yaml.Node]:
    """Return the documents of a YAML text, before objects are made of them."""
    return list(yaml.compose_all(text, PARSER))


def load_once(stream: Any, Loader: Any) -> Iterator[Any]:  # noqa: N803
    """Do what yaml.load_all does with SafeLoader, but parse a text once."""
    text = stream if isinstance(stream, bytes) else stream.read()
    if not isinstance(text, bytes) or not issubclass(Loader, yaml.SafeLoader):
        yield from load_anew(text, Loader)
        return
    loader = Loader(b"")
    yield from map(loader.construct_document, nodes_of(text))


@lru_cache(10_000)
def node_of(text: str) -> yaml.Node | None:
    """Return the only document of a YAML text, before objects are made of it."""
    node: yaml.Node | None = yaml.compose(text, yaml.SafeLoader)
    return node


def load_one_once(stream: Any, Loader: Any) -> Any:  # noqa: N803
    """Do what yaml.load does with SafeLoader, as yaml.safe_load has it, but parse a text once.

    Copier reads by it what it renders of questions: their choices, defaults and the like.
    """
    if not isinstance(stream, str) or Loader is not yaml.SafeLoader:
        return load_one_anew(stream, Loader)
    node = node_of(stream)
    return None if node is None else Loader("").construct_document(node)
