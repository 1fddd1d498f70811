"""What a service that was written by hand tells the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generator import adopt, options
from generator.adopt.reading import Reading

Files = tuple[Path, Path | None, Path | None]  # the folder, the checkpoint, the labels
LAST: dict[Files, Reading] = {}  # what was read last: each preview needs it


def read(files: Files, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `ts-template adopt` reads in a folder; nothing in it is run.

    Args:
        files: The folder, and what people chose besides.
        given: Answers of people, which come first.

    Returns:
        What `inspecting.inspect` does, and `places`: by question, where the answer was read.

    Raises:
        UserError: There is nothing to adopt.
    """
    folder, weights, labels = files
    adopt.refuse_what_is_none(folder)
    LAST.clear()
    LAST[files] = reading = adopt.read(folder, given, weights=weights, labels=labels)
    found = reading.findings
    lines = [*adopt.files_read(reading), *adopt.answers_read(reading)]
    known, likely = found.sure, found.likely
    unsure = adopt.unsure(found, options.questions()).items()
    return {
        "report": "\n".join(lines),
        "known": {name: x for name, x in known.items() if name not in given},
        "likely": {name: x for name, x in likely.items() if name not in given},
        "open": {name: why for name, why in found.unknown.items() if name not in found.found},
        "assumed": {name: why or "the usual answer: no file tells" for name, why in unsure},
        "places": {
            name: ", ".join(x.places) for name, x in found.found.items() if name not in given
        },
        "problem": "",
    }


def fill(files: Files, project: Path) -> dict[str, str]:
    """Put into a rendered project what it has of a service; return what it replaces there.

    Args:
        files: The folder, and what people chose besides.
        project: The rendered project. Files that stay as they are in the folder are removed.

    Returns:
        Files of the user's, each with the one that replaces it.
    """
    if files not in LAST:
        read(files, {})
    filled = adopt.fill(LAST[files], project)
    for path in project.rglob("*"):
        if path.is_file() and path.relative_to(project).as_posix() not in filled.names:
            path.unlink()
    return filled.replaced


def line(files: Files) -> list[str]:
    """Return the command that adopts a service, to which answers are added."""
    folder, weights, labels = files
    words = ["adopt", str(folder), "--defaults"]
    for option, path in (("--weights", weights), ("--labels", labels)):
        words += [option, str(path)] if path else []
    return words
