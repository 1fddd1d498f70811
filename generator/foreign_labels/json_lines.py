"""JSON lines: a line {"id": 0, "name": "cat"}, or "cat", for each class."""

from __future__ import annotations

import json
from pathlib import Path

from generator.foreign_labels import from_objects
from generator.shared.label_files.names import LabelFileError, Labels


def parse_labels(path: Path, text: str) -> tuple[Labels, list[str]] | None:
    """Return index and name of each class, and notes for people."""
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        entries = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return None
    if len(entries) > 1 and all(isinstance(entry, str) for entry in entries):
        return [*enumerate(entries)], []
    if len(entries) < 2 or not all(isinstance(entry, dict) for entry in entries):
        return None
    if any(key in entries[0] for key in ("image", "file_name", "filename", "path")):
        raise LabelFileError(f"{path} lists images, with a line for each; expected the classes")
    return from_objects(path, entries), []
