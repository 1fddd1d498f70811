# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Objects in JSON whose keys are the indices of the classes: {"0": "cat", "1": "dog"}."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .names import KeyedFileError, LabelFileError, Labels


def read_entries(path: Path, entries: dict[str, Any], example: str) -> Labels:
    """Return index and name of each class.

    Args:
        path: The label file.
        entries: Name by index, as they stand in the file.
        example: What such a file holds, for people.

    Raises:
        LabelFileError: A key is no index, or an entry no name.
    """
    labels = []
    for key, name in entries.items():
        if not (key.isascii() and key.isdigit() and len(key) < 10 and str(int(key)) == key):
            what = "a WordNet id, which tells no index" if is_wordnet_id(key) else "no index"
            raise KeyedFileError(f"{path}: the key {key!r} is {what}; expected {example}")
        if not isinstance(name, str):
            raise LabelFileError(f"{path}: class {key} is {name!r}; expected {example}")
        labels.append((int(key), name))
    return labels


def is_wordnet_id(name: str) -> bool:
    """Tell whether this is an id of WordNet, such as n02123045."""
    return len(name) == 9 and name[0] == "n" and name[1:].isdigit()
