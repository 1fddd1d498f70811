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
    from generator import new
    from generator.inspection import inspect_file, report
    from generator.labels import inspect_labels
    from generator.tasks import tasks

    found = inspect_file(weights)
    names = None
    if labels is not None:
        names = inspect_labels(labels, found.classes, found.class_names)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        report.show(found, names, labels)
    problem, known, likely = "", dict(found.answers), dict(found.likely)
    try:
        new.refuse_unreadable(found)
        known = new.answers_of(found, given)
        task = tasks().get(str(given.get("task") or found.task or found.likely.get("task")))
        if task is not None:
            known = task.answers_on_weights(found, known)
        likely = new.likely_of(found, {**known, **given}, Path("my-service"))
        likely.pop("project_name", None)
    except UserError as error:
        problem = str(error)
    # new takes the names of a checkpoint by itself.
    count = known.get("num_classes") or (likely.get("num_classes") if found.classes else None)
    if "label_format" not in given and (names is not None or not found.class_names):
        known |= new.label_answers(names, count)
    if names is not None and names.problem:
        problem = names.problem
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
