"""What a checkpoint and labels tell the page."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generator.errors import UserError
from generator.page import rendering


def inspect(weights: Path, labels: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is found, as `ts-template inspect` and `new` find it; nothing in it is run.

    Args:
        weights: The checkpoint.
        labels: The names of the classes.
        given: Answers of people, which come first.

    Returns:
        `report`, the evidence, for people; `known`, the answers that follow; `likely`, those to be
        confirmed; `assumed`, by the question, what `new` says that it assumes; `open`, why a
        question cannot be answered, by its name; `problem`, why it cannot be served as it is, empty
        if it can.

    Raises:
        UserError: A file cannot be read.
    """
    from rich.console import Console

    from generator import new
    from generator.inspection import inspect_file, report

    found = inspect_file(weights)
    problem, known, likely, names = "", dict(found.answers), dict(found.likely), None
    try:
        # What cannot be told is a question here, as in a terminal.
        notes = Console(file=io.StringIO())
        told = new.what_is_told(found, labels, given, Path("my-service"), notes, ask=True)
    except UserError as error:
        problem = str(error)
    else:
        known, likely, labels, names = told.known, told.likely, told.labels, told.names
    likely.pop("project_name", None)  # the folder's, which is not chosen yet
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        report.show(found, names, labels)
    assumed: dict[str, str] = {}
    if not problem:
        rows = list(rendering.FORM.filled_in({**likely, **known, **given}))
        asked = {row["name"] for row in rows if row["is_asked"]}
        answers = {name: x for name, x in rendering.FORM.assumed.items() if name in asked}
        lines = new.assumptions(found, {**known, **given}, answers)
        assumed = {line.partition(":")[0]: line for line in lines}
    return {
        "assumed": assumed,
        "report": shown.getvalue().partition("\nNext\n")[0],
        "known": {name: value for name, value in known.items() if name not in given},
        "likely": {name: value for name, value in likely.items() if name not in given},
        "open": report.open_questions(found, names),
        "problem": problem,
    }
