"""Looks at data with labels: the images in a folder, the rows of a table."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from generator.errors import UserError

Row = dict[str, str]


@cache
def endings() -> frozenset[str]:
    """Return how the names of images end, as Pillow knows it: ".png", ..."""
    return frozenset(Image.registered_extensions())


def images_in(folder: Path) -> Iterator[Path]:
    """Yield the images in a folder, at any depth, in order; hidden ones are left out."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(x for x in folders if not x.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in endings():
                yield Path(root, name)


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, in order; hidden ones are left out."""
    return sorted(x for x in folder.iterdir() if x.is_dir() and not x.name.startswith("."))


def rows_of(path: Path) -> list[Row]:
    """Return the rows of a CSV or JSONL file; none if it is neither.

    Raises:
        UserError: It is damaged.
    """
    if not path.is_file() or path.suffix.lower() not in (".csv", ".jsonl"):
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                return list(csv.DictReader(file, restval=""))
            return [as_row(json.loads(line)) for line in file if line.strip()]
    except (ValueError, csv.Error) as error:  # of JSON and of UTF-8, too
        raise UserError(f"{path} cannot be read as {path.suffix[1:].upper()}: {error}") from error


def as_row(content: object) -> Row:
    """Return what a line of JSON holds, a list as a cell of several labels."""
    if not isinstance(content, dict):
        raise ValueError(f"a line holds a {type(content).__name__}; expected a mapping")
    return {
        str(key): "|".join(map(str, x)) if isinstance(x, list) else str(x)
        for key, x in content.items()
    }


def names_in(labels: Iterable[str]) -> list[str]:
    """Return each of the labels once: sorted, by number if all are numbers, as train.py does."""
    names = set(labels)
    by_number = all(name.isdecimal() for name in names)
    return sorted(names, key=(lambda name: (int(name), name)) if by_number else None)


def parted(cells: Sequence[str]) -> Iterator[str]:
    """Yield the labels in cells that may have several: with |, ; or, without these, spaces."""
    separator = next((x for x in "|;" if any(x in cell for cell in cells)), None)
    return (x.strip() for cell in cells for x in cell.split(separator) if x.strip())
