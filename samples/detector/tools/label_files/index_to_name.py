# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The format index_to_name: {"0": "cat", "1": "dog"}."""

from __future__ import annotations

from pathlib import Path

from .entries import read_entries
from .folder_numbers import refuse_folder_numbers
from .json_file import read_json
from .names import Labels

EXAMPLE = '{"0": "cat", "1": "dog"}'


def parse_labels(path: Path) -> tuple[Labels, list[str]]:
    """Return index and name of each class, and notes for people."""
    labels = read_entries(path, read_json(path, "index_to_name", EXAMPLE), EXAMPLE)
    refuse_folder_numbers(path, labels)
    return labels, []
