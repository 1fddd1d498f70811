# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The names of the classes: those in the config.json of the folder with the weights."""

from __future__ import annotations

import json
from pathlib import Path

from tools.project import ProjectError, change_answer

MAX_LENGTH = 200  # characters of a name


def read_labels(num_classes: int, folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of all classes, in the order of the network's outputs, and notes for people.

    Raises:
        ProjectError: id2label does not name every class once.
    """
    path = folder / "config.json"
    found = json.loads(path.read_text(encoding="utf-8")).get("id2label")
    if found is None:  # as transformers calls them then
        found = {str(index): f"LABEL_{index}" for index in range(num_classes)}
    names = [found.get(str(index)) for index in range(len(found))]
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise ProjectError(
            f"{path}: id2label is {found}; expected a name for each class, as in "
            '{"0": "bad", "1": "good"}. '
            f"Or write the names into a file of their own: {own_names()}"
        )
    longest = max(names, key=len)
    if len(longest) > MAX_LENGTH:
        raise ProjectError(
            f"{path}: the name {longest[:30]}... has {len(longest)} characters; at most "
            f"{MAX_LENGTH} are allowed. Write shorter ones into a file of their own: {own_names()}"
        )
    if len(names) != num_classes:
        raise ProjectError(
            f"{path}: id2label names {len(names)} classes, the project has {num_classes}. "
            f"Run: {change_answer(num_classes=len(names))}"
        )
    if names == [f"LABEL_{index}" for index in range(num_classes)]:
        return names, [f"{path.name} names no classes. To name them: {own_names()}"]
    return names, []


def own_names() -> str:
    """Return the command for a project whose labels stand in a file of their own."""
    return change_answer(label_format="index_to_name")
