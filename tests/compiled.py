"""Remembers what Copier's renders compile and parse, for as long as a process lives.

To Copier each project is the first: it compiles the same Jinja strings and parses the same YAML,
which takes longer than rendering. Both depend on the text alone. Nothing else of a render is
remembered: it asks, validates and writes all anew. `tests/forked.py` forks from a process that
has imported this and rendered some projects.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from generator.compiled import remember

load_anew = yaml.load_all


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


remember()
yaml.load_all = load_once
