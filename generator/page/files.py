"""The files of this machine that the page shows: those in the folder that it was started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generator.errors import UserError

MANY = 2000  # entries of a folder that are shown


def inside(root: Path, name: str) -> Path:
    """Return a path in a folder, links followed.

    Args:
        root: The folder, resolved.
        name: Relative to it, or absolute.

    Raises:
        UserError: It is outside.
    """
    try:
        path = (root / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null character
        raise UserError(f"{name!r} is no path: {error}") from error
    if not path.is_relative_to(root):
        raise UserError(
            f"{name} is outside of {root}; for other folders, stop this and name one of them: "
            "ts-template start FOLDER"
        )
    return path


def listing(root: Path, name: str) -> dict[str, Any]:
    """Return what is in a folder: folders first, nothing hidden, no links that lead outside.

    Raises:
        UserError: It is outside of the root, or cannot be read.
    """
    folder = inside(root, name)
    try:
        entries = sorted(
            (not path.is_dir(), path.name)
            for path in folder.iterdir()
            if not path.name.startswith(".") and path.resolve().is_relative_to(root)
        )
    except (OSError, RuntimeError) as error:
        raise UserError(f"{folder} cannot be read: {error}") from error
    where = folder.relative_to(root)
    return {
        "folder": "" if folder == root else where.as_posix(),
        "parent": None if folder == root else where.parent.as_posix(),
        "left_out": max(0, len(entries) - MANY),
        "entries": [
            {"name": each, "path": (where / each).as_posix(), "is_folder": not is_file}
            for is_file, each in entries[:MANY]
        ],
    }
