"""Makes a project without a checkpoint, for the page: python -m generator.page.alone FOLDER."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from generator import facts, making, new
from generator.answers_file import answers_in
from generator.cli import Data
from generator.errors import UserError
from generator.options import parse
from generator.rendering import render, runner


def make(
    destination: Path, labels: Path | None, model: Path | None, answers: Mapping[str, Any]
) -> None:
    """Render a project as `copier copy` does, put files into it, and print what comes next.

    Args:
        destination: The project's folder; must not exist, or be empty.
        labels: The names of the classes.
        model: The Python file that defines build_model(num_classes).
        answers: Answers by question.

    Raises:
        UserError: There is such a folder, or an answer is refused.
    """
    making.refuse_missing(destination, model)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"1. Render {destination}")
    task = str(answers.get("task", next(iter(facts.tasks()))))
    count = answers.get("num_classes")
    names = None if labels is None else new.names_for(labels, count, console, task)
    told = {} if names is None else new.label_answers(names, count)
    if model is not None:
        told["architecture"] = "custom"
    with making.emptied_by_errors(destination, destination.exists()):
        rendered = render(destination, {**told, **answers})
        new.put_files(destination, None, labels, names)
        if model is not None:
            shutil.copyfile(model, destination / "service" / "model.py")
    if rendered.note:
        console.print(f"   {rendered.note}")
    chosen = answers_in(destination)
    noun = facts.checkpoints()[chosen["weights"]]["noun"]
    file = facts.labels()[chosen.get("label_format", "none")]["file"]
    lacking = f" and your labels into {file}" if file and labels is None else ""
    lines = [
        f"cd {shlex.quote(str(destination))}",
        'git init && git add -A && git commit -m "Start"',
        "pip install -r requirements.txt    # in a virtual environment",
        f"{runner()}python archive.py    # first put your {noun} into weights/{lacking}",
        f"{runner()}python predict.py {making.item_of(chosen)['argument']}",
        f"{runner()}python serve.py",
    ]
    console.print("\n    ".join(["", f"{destination} is rendered. Next:", "", *lines, ""]))


def main(
    destination: Path,
    labels: Annotated[Path | None, typer.Option()] = None,
    model: Annotated[Path | None, typer.Option()] = None,
    data: Data = None,
) -> None:
    """Render a project; a UserError ends it with its message and status 1."""
    try:
        make(destination, labels, model, parse(data or []))
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    typer.run(main)
