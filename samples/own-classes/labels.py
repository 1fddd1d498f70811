# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The names of the classes, which are those of the folders of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from project import ROOT, ProjectError, change_answer

LABELS = ROOT / "data/train"


def read_labels(num_classes: int, path: Path = LABELS) -> tuple[list[str], list[str]]:
    """Return the names of all classes, in the order of the network's outputs, and notes for people.

    Raises:
        ProjectError: They cannot be read, or are not one for each class.
    """
    labels, notes = parse_labels(path)
    names, more = in_order(path, labels, num_classes)
    return names, notes + more


PARTS_OF_DATA = {"train", "training", "val", "valid", "validation", "test", "testing"}


def parse_labels(path: Path) -> tuple[dict[int, str], list[str]]:
    """Return {index: name} as torchvision's ImageFolder numbers the folders, and notes."""
    try:
        folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    except OSError as error:
        raise ProjectError(
            f"{path} cannot be read as a folder ({error.strerror}). Name the one whose sub-folders "
            f"are the classes with --labels, or run: {change_answer(label_folder='FOLDER')}"
        ) from error
    names = [name for name in folders if not name.startswith(".")]
    if not names:
        raise ProjectError(f"{path} has no sub-folders; expected one for each class")
    if len(names) > 1 and PARTS_OF_DATA.issuperset(name.lower() for name in names):
        training = next((name for name in names if name.lower().startswith("train")), names[0])
        answer = change_answer(label_folder=(path / training).resolve().as_posix())
        raise ProjectError(f"{path} holds {', '.join(names)}, which are no classes. Run: {answer}")
    hidden = [name for name in folders if name.startswith(".")]
    return dict(enumerate(names)), [f"left out: {abbreviate(hidden)}"] if hidden else []


def in_order(path: Path, labels: dict[int, str], num_classes: int) -> tuple[list[str], list[str]]:
    """Return the names in the order of the network's outputs, and notes for people.

    Raises:
        ProjectError: A class has no name, or a name has no class.
    """
    notes = []
    count = len(labels)
    if count >= num_classes and labels.keys() == set(range(1, count + 1)):
        labels = {index - 1: name for index, name in labels.items()}
        notes.append(f"numbered from 1 to {count}: taken as the classes 0 to {count - 1}")
    for index, name in labels.items():
        if not name.strip():
            raise ProjectError(f"{path}: the name of class {index} is empty")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise ProjectError(f"{path}: the name of class {index} is {name!r}, which is no text")
    missing = [index for index in range(num_classes) if index not in labels]
    surplus = sorted(labels.keys() - range(num_classes))
    if surplus and not missing and surplus == list(range(num_classes, count)):
        raise ProjectError(
            f"{path} names {count} classes, the project has {num_classes}. If the file is "
            f"right, run: {change_answer(num_classes=count)}"
        )
    if missing or surplus:
        extra = [f"{index} ({labels[index]})" for index in surplus]
        raise ProjectError(
            f"{path} must name the classes 0 to {num_classes - 1}; it "
            + " and ".join(
                f"{verb} {abbreviate(items)}"
                for verb, items in (("lacks", missing), ("should not have", extra))
                if items
            )
        )
    classes: dict[str, list[int]] = {}
    for index in range(num_classes):
        classes.setdefault(labels[index], []).append(index)
    if twins := [f"{name} {indices}" for name, indices in classes.items() if len(indices) > 1]:
        notes.append(f"names that several classes have: {abbreviate(twins)}")
    return [labels[index] for index in range(num_classes)], notes


def abbreviate(items: list[Any], most: int = 10) -> str:
    """Return the items as text, the first few if there are many."""
    text = ", ".join(str(item) for item in items[:most])
    return text if len(items) <= most else f"{text}, ... ({len(items)} in all)"
