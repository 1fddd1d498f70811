"""COCO: {"categories": [{"id": 1, "name": "cat"}, ...]} beside images and annotations."""

from __future__ import annotations

import json
from pathlib import Path

from generator.foreign_labels import from_objects
from generator.shared.label_files.names import LabelFileError, Labels


def parse_labels(path: Path, text: str) -> tuple[Labels, list[str]] | None:
    """Return index and name of each class, and notes for people.

    COCO's own ids have gaps. Those who train take the categories in the order of their ids.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    categories = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(categories, list) or not categories:
        return None
    if not all(isinstance(entry, dict) for entry in categories):
        return None
    labels = from_objects(path, categories)
    ids = [index for index, _ in labels]
    if sorted(ids) in (list(range(len(ids))), list(range(1, len(ids) + 1))):
        return labels, []
    if ids != sorted(set(ids)):
        raise LabelFileError(
            f"{path}: the ids of its categories have gaps, and are not in order: which class is "
            "which output? Write the names as a JSON list, in the order of the outputs"
        )
    note = f"ids from {ids[0]} to {ids[-1]} with gaps: taken as the classes 0 to {len(ids) - 1}"
    return [(number, name) for number, (_, name) in enumerate(labels)], [note]
