# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The lines of a label file that has one for each class."""

from __future__ import annotations

import re
from pathlib import Path

from .names import LabelFileError
from .text_file import read_text

IMAGE = re.compile(r"\.(jpe?g|png|bmp|gif|webp|tiff?)\b", re.IGNORECASE)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a label file.

    Raises:
        LabelFileError: It holds JSON or a list of images, or a line is empty.
    """
    text = read_text(path)
    if is_json(text):
        raise LabelFileError(
            f"{path} holds JSON, not a line for each class", label_format="index_to_name"
        )
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise LabelFileError(f"{path}: line {number} is empty; expected the name of a class")
    if sum(bool(IMAGE.search(line)) for line in lines) * 2 > len(lines):
        raise LabelFileError(f"{path} lists images such as {lines[-1]!r}; expected the classes")
    return lines


def is_json(text: str) -> bool:
    """Tell whether this is an object or a list in place of lines."""
    text = text.strip()
    return text[0] == "{" or text[0] + text[-1] == "[]"
