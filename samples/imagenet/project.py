"""The names and places that the scripts of this project share."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

# In the URL: http://127.0.0.1:8080/predictions/<MODEL_NAME>
MODEL_NAME = "imagenet"
NUM_CLASSES = 1000
ROOT = Path(__file__).resolve().parent
WEIGHTS_DIR = ROOT / "weights"
MODEL_STORE = ROOT / "model-store"
ARCHIVE = MODEL_STORE / f"{MODEL_NAME}.mar"


class ProjectError(Exception):
    """Something that the user can mend; the message says how."""


def change_answer(**answers: object) -> str:
    """Return the command that renders this project anew with other answers."""
    data = " ".join(f"-d {shlex.quote(f'{name}={value}')}" for name, value in answers.items())
    command = f"copier update --defaults --vcs-ref=:current: {data}"
    if any((folder / ".git").exists() for folder in (ROOT, *ROOT.parents)):
        return command
    return f"git init && git add -A && git commit -m 'Before {data}' && {command}"


def run(main: Callable[[], int]) -> None:
    """Exit with what `main` returns; a ProjectError or Ctrl-C ends it without a traceback."""
    try:
        sys.exit(main())
    except ProjectError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
