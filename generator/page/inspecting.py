"""What files tell the page: a checkpoint, labels, data, a service that was written by hand."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generator.errors import UserError
from generator.page import rendering, services


def inspect(
    weights: Path | None, labels: Path | None, model: Path | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is found, as `ts-template inspect` and `new` find it; nothing in it is run.

    Args:
        weights: The checkpoint.
        labels: The names of the classes.
        model: The Python file that defines build_model(num_classes).
        given: Answers of people, which come first.

    Returns:
        `report`, the evidence, for people; `known`, the answers that follow; `problem`, why it
        cannot be served as it is, empty if it can. Of a checkpoint, also `likely`, answers to be
        confirmed; `assumed`, by the question, what `new` says that it assumes; `open`, why a
        question cannot be answered, by its name.

    Raises:
        UserError: A file cannot be read.
    """
    from rich.console import Console

    from generator import new
    from generator.inspection import inspect_file, report

    given = rendering.FORM.cast(given)
    shown = io.StringIO()
    if weights is None:
        console = Console(file=shown, width=100)
        known = alone(labels, model, given, console)
        return {"report": shown.getvalue(), "known": known, "problem": ""}
    found = inspect_file(weights)
    problem, known, likely, names = "", dict(found.answers), dict(found.likely), None
    try:
        # What cannot be told is a question here, as in a terminal.
        notes = Console(file=io.StringIO())
        where = Path("my-service")
        told = new.what_is_told(found, labels, given, where, notes, ask=True, model=model)
    except UserError as error:
        problem = str(error)
    else:
        known, likely = told.known, told.likely
        labels, names = told.labels, told.names
    likely.pop("project_name", None)  # the folder's, which is not chosen yet
    if model is not None:
        known["architecture"] = "custom"
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


def alone(
    labels: Path | None, model: Path | None, given: Mapping[str, Any], console: Any
) -> dict[str, Any]:
    """Return the answers that follow from labels and a network's code, without a checkpoint."""
    from generator import facts, new

    known: dict[str, Any] = {} if model is None else {"architecture": "custom"}
    if labels is not None:
        task = str(given.get("task", next(iter(facts.tasks()))))
        count = given.get("num_classes")
        names = new.names_for(labels, count, console, task)
        known |= new.label_answers(names, count)
    return {name: value for name, value in known.items() if name not in given}


def data(
    folder: Path,
    start: Path | None,
    labels: Path | None,
    model: Path | None,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what data with labels tell, as `ts-template new --data` has it, like `inspect`.

    Args:
        folder: The data, a folder or a file.
        start: A checkpoint to begin training with.
        labels: The names of the classes.
        model: The Python file that defines build_model(num_classes).
        given: Answers of people, which come first.

    Raises:
        UserError: They make no service.
    """
    from generator import data_sets

    given = rendering.FORM.cast(given)
    told = data_sets.what_is_told(folder, labels, given, start=start, model=model)
    rows = list(rendering.FORM.filled_in(told.known))
    asked = {row["name"] for row in rows if row["is_asked"]}
    answers = {name: x for name, x in rendering.FORM.assumed.items() if name in asked}
    lines = data_sets.assumptions(told.known, answers)
    return {
        "assumed": {line.partition(":")[0]: line for line in lines},
        "report": "\n".join(told.lines()),
        "known": {name: value for name, value in told.known.items() if name not in given},
        "problem": "",
    }


def adopt(files: services.Files, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a hand-written service tells, as `services.read` has it."""
    return services.read(files, rendering.FORM.cast(given))
