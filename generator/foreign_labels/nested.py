"""JSON with the names of the classes among other things: {"class_to_idx": {"cat": 0, ...}, ...}."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generator.inspection.class_names import agreed, find_names
from generator.shared.label_files.json_file import load_json
from generator.shared.label_files.names import LabelFileError, Labels


def parse_labels(path: Path, text: str) -> tuple[Labels, list[str]] | None:
    """Return index and name of each class, and notes for people."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        content = load_json(path)
    except LabelFileError:
        return None
    if not isinstance(content, dict) or isinstance(content.get("id2label"), dict):
        return None  # which is Hugging Face's config
    return names_in(path, content)


def names_in(path: Path, content: Any) -> tuple[Labels, list[str]] | None:
    """Return the one list of names in a mapping; None if there is none.

    Raises:
        LabelFileError: There are several that differ.
    """
    found = agreed(find_names(content), None)
    if not found:
        return None
    if len(found) > 1:
        lists = "; ".join(map(str, found[:3]))
        raise LabelFileError(
            f"{path} has several lists of names: {lists}. Write the one that is meant to a file"
        )
    return [*enumerate(found[0].names)], [f"the names are those under {found[0].place}"]
