"""The format class_to_idx: {"cat": 0, "dog": 1}."""

from __future__ import annotations

from pathlib import Path

from .json_file import read_json
from .names import LabelFileError, Labels

EXAMPLE = '{"cat": 0, "dog": 1}'


def parse_labels(path: Path) -> tuple[Labels, list[str]]:
    """Return index and name of each class, and notes for people."""
    labels = []
    for name, index in read_json(path, "class_to_idx", EXAMPLE).items():
        number = int(index) if isinstance(index, str) and index.isdecimal() else index
        if type(number) is not int or number < 0:
            raise LabelFileError(f"{path}: the index of {name!r} is {index!r}; expected 0 or more")
        labels.append((number, name))
    return labels, []
