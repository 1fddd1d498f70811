"""Lets the generator use pieces of Python that it renders into projects: one source for both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from generator.rendering import template_root


def load(*names: str, **extra: Any) -> dict[str, Any]:
    """Run pieces of the template that hold no Jinja, and return what they define.

    Args:
        names: Paths below template/parts, such as "checkpoint/states.py.jinja". Each may use what
            those before it define.
        extra: Further names for them to use, such as ProjectError.
    """
    namespace: dict[str, Any] = {
        "Any": Any,
        "Iterable": Iterable,
        "Mapping": Mapping,
        "Path": Path,
        "json": json,
        "re": re,
        **extra,
    }
    for name in names:
        exec(compiled(name), namespace)
    return namespace


@cache
def compiled(name: str) -> CodeType:
    """Return the code of a piece."""
    path = template_root() / "template" / "parts" / name
    source = "from __future__ import annotations\n" + path.read_text(encoding="utf-8")
    return compile(source, str(path), "exec")
