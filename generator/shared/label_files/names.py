"""The names of the classes: one for each output of the network, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

Labels = list[tuple[int, str]]  # index and name of each class


class LabelFileError(Exception):
    """What is wrong with a label file.

    Attributes:
        answers: The answers to the template's questions that fix it, by question, if any do.
        conversions: The options with one of which `ts-template labels` writes a file that is right.
    """

    conversions: tuple[str, ...] = ()

    def __init__(self, message: str, **answers: object) -> None:
        super().__init__(message)
        self.answers = answers


class KeyedFileError(LabelFileError):
    """Names whose keys are no numbers. They may be names of folders."""

    conversions = ("--label-order folders",)


def in_order(path: Path, labels: Labels, num_classes: int) -> tuple[list[str], list[str]]:
    """Return the names in the order of the network's outputs, and notes for people.

    Raises:
        LabelFileError: A class has no name or two, or a name has no class.
    """
    names: dict[int, str] = {}
    for index, name in labels:
        if index in names:
            raise LabelFileError(f"{path}: {names[index]!r} and {name!r} both have index {index}")
        names[index] = name
    notes = []
    count = len(names)
    if count >= num_classes and names.keys() == set(range(1, count + 1)):
        names = {index - 1: name for index, name in names.items()}
        notes.append(f"numbered from 1 to {count}: taken as the classes 0 to {count - 1}")
    for index, name in names.items():
        if not name.strip():
            raise LabelFileError(f"{path}: the name of class {index} is empty")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise LabelFileError(f"{path}: the name of class {index} is {name!r}, which is no text")
    missing = [index for index in range(num_classes) if index not in names]
    surplus = sorted(names.keys() - range(num_classes))
    if surplus and not missing and surplus == list(range(num_classes, count)):
        raise LabelFileError(
            f"{path} names {count} classes, the network has {num_classes}",
            num_classes=count,
        )
    if missing or surplus:
        found = [f"lacks {abbreviate(missing)}"] if missing else []
        if surplus:
            extra = [f"{index} ({names[index]})" for index in surplus]
            found.append(f"should not have {abbreviate(extra)}")
        kind = KeyedFileError if len(missing) == num_classes else LabelFileError
        raise kind(f"{path} must name the classes 0 to {num_classes - 1}; it {' and '.join(found)}")
    classes: dict[str, list[int]] = {}
    for index in range(num_classes):
        classes.setdefault(names[index], []).append(index)
    if shared := [f"{name} {indices}" for name, indices in classes.items() if len(indices) > 1]:
        notes.append(f"names that several classes have: {abbreviate(shared)}")
    return [names[index] for index in range(num_classes)], notes


def abbreviate(items: Sequence[object], most: int = 10) -> str:
    """Return the items as text, the first few if there are many."""
    text = ", ".join(str(item) for item in items[:most])
    return text if len(items) <= most else f"{text}, ... ({len(items)} in all)"
