# copier update rewrites this file, unless "What is yours" in README.md names it.
"""What tells from the first bytes of a file that it is no checkpoint, whatever its name says."""

from __future__ import annotations

from pathlib import Path


class NoCheckpointError(Exception):
    """A file that is no checkpoint; the message says what it is, and what to do."""


def read_start(path: Path) -> bytes:
    """Return the first bytes of a file that may be a checkpoint.

    Raises:
        NoCheckpointError: It is none, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise NoCheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise NoCheckpointError(f"{path} is empty; copy the checkpoint again")
    if head.startswith(b"version https://git-lfs"):
        raise NoCheckpointError(f"{path} is a Git LFS pointer, not the weights; run: git lfs pull")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise NoCheckpointError(
            f"{path} is a web page, saved in place of the file; download it again"
        )
    return head
