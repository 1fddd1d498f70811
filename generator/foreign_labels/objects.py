"""A list of objects in JSON: [{"id": 0, "name": "cat"}, ...]."""

from __future__ import annotations

import json
from pathlib import Path

from generator.foreign_labels import from_objects
from generator.shared.label_files.names import Labels


def parse_labels(path: Path, text: str) -> tuple[Labels, list[str]] | None:
    """Return index and name of each class, and notes for people."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, list) or not content:
        return None
    if not all(isinstance(entry, dict) for entry in content):
        return None
    return from_objects(path, content), []
