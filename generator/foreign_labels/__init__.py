"""Label files of other tools, which no project reads: a module for each format.

A module defines `parse_labels(path, text)`. It returns None for a file of another format, else
what those of `generator.shared.label_files` return, and raises `LabelFileError` for a broken file.
`new` and `ts-template labels` write what is read as the label file of a project.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from generator.shared.label_files.names import LabelFileError, Labels
from generator.shared.label_files.text_file import read_any_text

INDICES = ("id", "index", "idx", "class_id", "class_index", "category_id", "label_id", "value")
NAMES = ("name", "label", "class_name", "class", "label_name", "display_name", "category", "title")


def read_foreign(path: Path) -> tuple[str, Labels, list[str]] | None:
    """Return the format, indices and names, and notes for people; None if it is none of these.

    Raises:
        LabelFileError: It is broken.
    """
    if path.is_dir():
        return None
    text = read_any_text(path)
    for module in pkgutil.iter_modules(__path__):
        parse = importlib.import_module(f"{__name__}.{module.name}").parse_labels
        if (result := parse(path, text)) is not None:
            labels, notes = result
            return module.name, labels, notes
    return None


def from_objects(path: Path, objects: list[dict[str, object]]) -> Labels:
    """Return index and name of each class from objects such as {"id": 0, "name": "cat"}.

    Raises:
        LabelFileError: They lack an index or a name, or have two that may be it.
    """
    keys = set(objects[0]).intersection(*objects)
    index = next((key for key in INDICES if key in keys), None)
    name = next((key for key in NAMES if key in keys and key != index), None)
    if name is None:
        raise LabelFileError(f"{path}: {objects[0]!r:.80} has no name under {', '.join(NAMES[:3])}")
    labels = []
    for number, entry in enumerate(objects):
        value, text = number if index is None else entry[index], entry[name]
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if type(value) is not int or value < 0:
            raise LabelFileError(f"{path}: {index} of {entry!r:.80} is no index")
        if not isinstance(text, str):
            raise LabelFileError(f"{path}: {name} of {entry!r:.80} is no name")
        labels.append((value, text))
    if len(labels) > 2 * len({text for _, text in labels}):
        raise LabelFileError(f"{path} has an entry for each image, not for each class")
    return labels
