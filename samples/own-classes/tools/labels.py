# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The names of the classes, which are those of the folders of a data set."""

from __future__ import annotations

from pathlib import Path

from tools.label_files.folders import parse_labels
from tools.label_files.names import LabelFileError, in_order
from tools.project import ROOT, ProjectError, change_answer

LABELS = ROOT / "data/train"


def read_labels(num_classes: int, path: Path = LABELS) -> tuple[list[str], list[str]]:
    """Return the names of all classes, in the order of the network's outputs, and notes for people.

    Raises:
        ProjectError: They cannot be read, or are not one for each class.
    """
    try:
        labels, notes = parse_labels(path)
        names, more = in_order(path, labels, num_classes)
    except LabelFileError as error:
        raise ProjectError(with_command(error)) from error
    return names, notes + more


def with_command(error: LabelFileError) -> str:
    """Return what is wrong with a label file and, if an answer fixes it, the command for that."""
    if "num_classes" in error.answers:  # which the weights have confirmed
        return f"{error}, as its weights show: the names are those of another network"
    if not error.answers:
        return str(error)
    return f"{error}. Run: {change_answer(**error.answers)}"
