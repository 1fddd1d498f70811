"""The files of this machine that the page shows: those in the folder that it was started with."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

from generator.adopt.commands import MAX_DEPTH, SKIPPED
from generator.errors import UserError

MANY = 2000  # entries of a folder that are shown
LARGEST_FILE = 100_000_000  # bytes of a file that is dropped onto the page
LARGEST_FILES = 500_000_000  # of all of them
LONGEST = 200  # bytes of its name; file systems take 255


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


def refuse_links(root: Path, folder: Path, depth: int = 0) -> None:
    """See that reading a service or data in a folder, and writing there, leads nowhere else.

    Raises:
        UserError: It has a link to outside of the root, as deep as a service is read.
    """
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                inside(root, entry.path)
            elif entry.is_dir() and depth < MAX_DEPTH and entry.name not in (*SKIPPED, ".git"):
                refuse_links(root, Path(entry.path), depth + 1)


class Dropped:
    """The files that were dropped onto the page: in a hidden folder of the root, until the end.

    Args:
        root: The folder that the page shows, resolved.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder: Path | None = None
        self.bytes = 0

    def place(self, name: str, size: int) -> Path:
        """Return where to write a file; each has a new folder of its own.

        Raises:
            UserError: It is too large, or nothing can be written there.
        """
        if size > LARGEST_FILE or self.bytes + size > LARGEST_FILES:
            raise UserError(
                f"{plain(name)} is too large to be dropped: expected at most "
                f"{LARGEST_FILE // 1_000_000} MB, and {LARGEST_FILES // 1_000_000} MB of all. Put "
                f"it into {self.root}, and choose it there"
            )
        try:
            if self.folder is None:
                self.folder = Path(tempfile.mkdtemp(prefix=".ts-template-start-", dir=self.root))
                (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")
            own = Path(tempfile.mkdtemp(dir=self.folder))
        except OSError as error:
            raise UserError(f"nothing can be written into {self.root}: {error}") from error
        self.bytes += size
        return own / plain(name)

    def close(self) -> None:
        """Remove them all."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def plain(name: str) -> str:
    """Return the name for a file of one that a browser sends: no folder, and nothing hidden."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = re.sub(r"[^\w.()+ -]", "_", last).strip(". ")
    suffix = Path(kept).suffix[:20]
    stem = kept.removesuffix(suffix).encode()[: LONGEST - len(suffix.encode())]
    return f"{stem.decode(errors='ignore')}{suffix}" or "file"
