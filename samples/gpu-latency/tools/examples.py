# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Images like those that will come: to convert a network with, and to compare predictions on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from service import task
from service.images import ItemError, read_items
from tools.project import ProjectError

MAX_EXAMPLES = 256  # of a folder
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


def find_examples(folder: Path) -> dict[str, bytes]:
    """Return up to MAX_EXAMPLES images by path, from all over a folder and its sub-folders."""
    paths = [x for x in sorted(folder.rglob("*")) if x.suffix.lower() in SUFFIXES and x.is_file()]
    step = max(1, -(-len(paths) // MAX_EXAMPLES))
    return {str(path): path.read_bytes() for path in paths[::step]}


def read_examples(examples: Mapping[str, bytes]) -> list[task.Item]:
    """Return encoded images as items of the task.

    Raises:
        ProjectError: The service would refuse one of them.
    """
    items = []
    for name, content in examples.items():
        (item,) = read_items([content], task.prepare)
        if isinstance(item, ItemError):
            raise ProjectError(f"{name}: {item}; repair it or take it away")
        items.append(item)
    return items
