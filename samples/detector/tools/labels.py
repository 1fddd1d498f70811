# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The names of the classes, as they stand in index_to_name.json."""

from __future__ import annotations

import shlex
from pathlib import Path

from tools.label_files.index_to_name import parse_labels
from tools.label_files.names import LabelFileError, in_order
from tools.project import ROOT, ProjectError, change_answer, in_project

LABELS = ROOT / "index_to_name.json"
# What the label file is called with another answer to label_format.
FILES = {
    "class_to_idx": "class_to_idx.json",
    "csv": "labels.csv",
    "huggingface": "config.json",
    "imagenet": "index_to_name.json",
    "list": "labels.json",
    "text": "labels.txt",
}


def read_labels(num_classes: int, path: Path = LABELS) -> tuple[list[str], list[str]]:
    """Return the names of all classes, in the order of the network's outputs, and notes for people.

    Raises:
        ProjectError: They cannot be read, or are not one for each class.
    """
    try:
        labels, notes = parse_labels(path)
        names, more = in_order(path, labels, num_classes)
    except LabelFileError as error:
        raise ProjectError(with_command(error, path)) from error
    if names == [f"class {index}" for index in range(num_classes)]:
        notes.append(f"the names are those of a new project: write yours into {path}")
    return names, notes + more


def with_command(error: LabelFileError, path: Path) -> str:
    """Return what is wrong with a label file and, if a command fixes it, the command for that."""
    if error.conversions:
        words = ["ts-template", "labels", str(path.resolve()), str(ROOT)]
        commands = "".join(f"\n    {shlex.join(words)} {x}".rstrip() for x in error.conversions)
        which = " one of" if len(error.conversions) > 1 else ""
        return f"{error}. In a clone of the template, run{which}:{commands}"
    if "num_classes" in error.answers:  # which the weights have confirmed
        return f"{error}, as its weights show: the names are those of another network"
    if not error.answers:
        return str(error)
    text = f"{error}. Run: {change_answer(**error.answers)}"
    if file := FILES.get(str(error.answers.get("label_format"))):
        path = path.resolve()
        words = ["mv" if path == LABELS else "cp", str(path), file]
        moving = f"{shlex.join(words)} && " if path != ROOT / file else ""
        text += f"\nand then: {in_project(f'{moving}python archive.py')}"
    return text
