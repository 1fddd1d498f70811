"""The file in which a project keeps its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from generator.errors import UserError

ANSWERS_FILE = ".copier-answers.yml"


def answers_in(project: Path, name: str = ANSWERS_FILE) -> dict[str, Any]:
    """Return the answers of a project, with Copier's own entries, such as `_commit`.

    Args:
        project: Its folder.
        name: The answers file, relative to the folder.

    Raises:
        UserError: It is no project, or the file holds something else.
    """
    path = project / name
    if not path.is_file():
        raise UserError(f"{project} has no {name}: name the folder of a project")
    try:
        answers = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(answers, dict):
        raise UserError(f"{path} holds no answers; expected lines such as num_classes: 10")
    return answers


def questions_in(project: Path) -> dict[str, Any]:
    """Return the answers of a project by question, without Copier's own entries."""
    return {name: x for name, x in answers_in(project).items() if not name.startswith("_")}
