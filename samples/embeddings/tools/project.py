# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The names and places that the commands of this project share."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

# In the URL: http://127.0.0.1:8080/predictions/<MODEL_NAME>
MODEL_NAME = "embedder"
ROOT = Path(__file__).resolve().parent.parent
WEIGHTS_DIR = ROOT / "weights"
MODEL_STORE = ROOT / "model-store"
ARCHIVE = MODEL_STORE / f"{MODEL_NAME}.mar"
ANSWERS_FILE = ".copier-answers.yml"

HANGUP = 1  # the signal of a terminal that is closed; Windows has none


class ProjectError(Exception):
    """Something that the user can fix; the message says how."""


def change_answer(**answers: object) -> str:
    """Return the command that renders this project anew with other answers.

    Copier updates what git has committed. What it knows no version of, it can only render anew.
    """
    command = "copier" if shutil.which("copier") or not shutil.which("uvx") else "uvx copier"
    file = ROOT / ANSWERS_FILE
    if file.is_file() and "\n_commit:" not in file.read_text(encoding="utf-8"):
        command += " recopy --defaults --overwrite"
    else:
        command += " update --defaults --vcs-ref=:current:"
    command += "".join(f" -d {shlex.quote(f'{name}={value}')}" for name, value in answers.items())
    status = subprocess.run(
        "git status --porcelain .", shell=True, cwd=ROOT, capture_output=True, check=False
    )
    if status.returncode or status.stdout:
        command = f"git add -A . && git commit -m 'Before an update' . && {command}"
    if status.returncode:  # no repository
        command = f"git init && {command}"
    return in_project(command)


def in_project(command: str) -> str:
    """Return a command as it is run from here, for one that is run in this project's folder."""
    return command if Path.cwd() == ROOT else f"cd {shlex.quote(str(ROOT))} && {command}"


def run(main: Callable[[], int]) -> None:
    """Exit with what `main` returns; what the user can fix ends it without a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # not every terminal has all letters
        sys.stdout.reconfigure(errors="backslashreplace")
    # `kill` and a closed terminal end a command as Ctrl-C does: servers are stopped, and nothing
    # half made stays. After nohup a terminal does not.
    for number in signal.valid_signals() & {signal.SIGTERM, HANGUP}:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        status = main()
        sys.stdout.flush()
        sys.exit(status)
    except KeyboardInterrupt:
        ignore_stop_signals()
        raise
    except ProjectError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # the program that reads what this prints has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sys.exit(f"error: {f'{error.filename}: {error.strerror}' if error.filename else error}")


def print_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print what ended the program, unless that was Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        ignore_stop_signals()  # it may be pressed again
    else:
        sys.__excepthook__(kind, error, trace)


# At once, and not in `run`: what the commands import next takes seconds.
sys.excepthook = print_error


def ignore_stop_signals() -> None:
    """From now on hear no Ctrl-C, nor what else ends the program: it is ending.

    People press Ctrl-C twice, and Python takes its time after the last line of a program.
    """
    for number in signal.valid_signals() & {signal.SIGINT, signal.SIGTERM, HANGUP}:
        signal.signal(number, signal.SIG_IGN)


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
