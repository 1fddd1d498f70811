"""The format imagenet: {"281": ["n02123045", "tabby"]}."""

from __future__ import annotations

from pathlib import Path

from .entries import read_entries
from .folder_numbers import refuse_folder_numbers
from .json_file import read_json
from .names import LabelFileError, Labels

EXAMPLE = '{"281": ["n02123045", "tabby"]}'


def parse_labels(path: Path, element: int) -> tuple[Labels, list[str]]:
    """Return index and name of each class, and notes for people.

    Args:
        path: The label file.
        element: Which of an entry is the name: counted from 0, or -1 for the last.
    """
    names = {}
    for key, entry in read_json(path, "imagenet", EXAMPLE).items():
        if not isinstance(entry, list) or not -len(entry) <= element < len(entry):
            wanted = "last element" if element == -1 else f"element {element}, counted from 0"
            raise LabelFileError(f"{path}: class {key} is {entry!r}, which has no {wanted}")
        names[key] = entry[element]
    labels = read_entries(path, names, EXAMPLE)
    refuse_folder_numbers(path, labels)
    return labels, []
