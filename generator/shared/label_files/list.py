"""The format list: ["cat", "dog"]."""

from __future__ import annotations

from pathlib import Path

from .json_file import read_json
from .names import LabelFileError, Labels

EXAMPLE = '["cat", "dog"]'


def parse_labels(path: Path) -> tuple[Labels, list[str]]:
    """Return index and name of each class, and notes for people."""
    names = read_json(path, "list", EXAMPLE)
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise LabelFileError(f"{path}: class {index} is {name!r}; expected a name in quotes")
    return [*enumerate(names)], []
