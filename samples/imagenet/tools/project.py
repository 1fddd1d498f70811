# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The names and places that the commands of this project share."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

# In the URL: http://127.0.0.1:8080/predictions/<MODEL_NAME>
MODEL_NAME = "imagenet"
ROOT = Path(__file__).resolve().parent.parent
WEIGHTS_DIR = ROOT / "weights"
MODEL_STORE = ROOT / "model-store"
ARCHIVE = MODEL_STORE / f"{MODEL_NAME}.mar"

HANGUP = 1  # the signal of a terminal that is closed; Windows has none


class ProjectError(Exception):
    """Something that the user can fix; the message says how."""


def change_answer(**answers: object) -> str:
    """Return the command that renders this project anew with other answers."""
    data = " ".join(f"-d {shlex.quote(f'{name}={value}')}" for name, value in answers.items())
    command = f"copier update --defaults --vcs-ref=:current: {data}"
    if any((folder / ".git").exists() for folder in (ROOT, *ROOT.parents)):
        return command
    return f"git init && git add -A && git commit -m 'Before {data}' && {command}"


def run(main: Callable[[], int]) -> None:
    """Exit with what `main` returns; what the user can fix ends it without a traceback."""
    try:
        sys.exit(main())
    except (ProjectError, OSError) as error:
        sys.exit(f"error: {error}")


def print_error(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print what ended the program, unless that was Ctrl-C."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)


# At once, and not in `run`: what the commands import next takes seconds.
sys.excepthook = print_error


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C, and what else would end the program, wait until the block is done."""
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in signal.valid_signals() & {signal.SIGINT, signal.SIGTERM, HANGUP}
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for again in received[:1]:
            signal.raise_signal(again)
