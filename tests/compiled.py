"""Remembers what Copier's renders compile and parse, for as long as a process lives.

To Copier each project is the first: it compiles the same thousand Jinja strings and parses the same
YAML, which takes longer than rendering. Both depend on the text alone. Nothing else of a render is
remembered: it asks, validates and writes all anew. `tests/forked.py` forks from a process that
has imported this and rendered some projects.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
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
compile_anew = jinja2.Environment.compile
load_anew = yaml.load_all


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
    return list(yaml.compose_all(text, yaml.CSafeLoader))


def load_once(stream: Any, Loader: Any) -> Iterator[Any]:  # noqa: N803
    """Do what yaml.load_all does, but parse a text once."""
    text = stream if isinstance(stream, bytes) else stream.read()
    if not isinstance(text, bytes) or not issubclass(Loader, yaml.SafeLoader):
        return load_anew(text, Loader)
    loader = Loader(b"")
    return (loader.construct_document(node) for node in nodes_of(text))


def warm() -> None:
    """Render projects that between them have most files."""
    from generator.rendering import plain_copy, render

    with tempfile.TemporaryDirectory() as folder:
        template = plain_copy(Path(folder, "template"))
        for name, answers in enumerate(
            (
                {"deploy": ["docker", "ray_serve"], "evaluation": True},
                {"architecture": "custom"},
                {"task": "text_classification"},
            )
        ):
            render(Path(folder, str(name)), answers, template)


jinja2.Environment.compile = compile_once  # type: ignore[method-assign, assignment]
yaml.load_all = load_once
