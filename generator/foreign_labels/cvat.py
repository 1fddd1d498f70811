"""CVAT's labelmap.txt: name:color_rgb:parts:actions for each class, below a line that says so."""

from __future__ import annotations

import re
from pathlib import Path

from generator.shared.label_files.names import LabelFileError, Labels

LINE = re.compile(r"(?P<name>[^:]+):\d{1,3},\d{1,3},\d{1,3}:[^:]*:[^:]*")


def parse_labels(path: Path, text: str) -> tuple[Labels, list[str]] | None:
    """Return index and name of each class, and notes for people."""
    first, *lines = (line for line in text.split("\n") if line.strip())
    if not re.match(r"#\s*label\s*:", first):
        return None
    names = []
    for line in lines:
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise LabelFileError(f"{path}: {line!r:.80} is not as in CVAT's label map")
        names.append(match["name"])
    return [*enumerate(names)], []
