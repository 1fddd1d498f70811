"""A terminal for the tests: what a person sees of `copier copy`, and types."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Mapping
from fcntl import ioctl
from pathlib import Path

SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>78]|\][^\x07]*\x07)")
MARK = "\U0001f3a4"  # before each question
ENTER = "\r"


def answer(
    command: list[str],
    cwd: Path,
    keys: Mapping[str, list[str]] | None = None,
    timeout: float = 300,
) -> tuple[list[str], str]:
    """Run a command in a terminal of 80 columns, with Enter as the answer to each question.

    Args:
        command: What is run.
        cwd: Where.
        keys: What is typed in place of Enter, by a part of a question's text: the first at once,
            the next where the first was refused.
        timeout: In seconds.

    Returns:
        The questions in their order, and all that was shown.
    """
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(cwd)
        os.environ["TERM"] = "xterm"
        os.execvp(command[0], command)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    shown, end = "", time.monotonic() + timeout
    asked: list[str] = []
    typed: Iterator[str] = iter(())
    try:
        while time.monotonic() < end:
            ready, _, _ = select.select([terminal], [], [], 0.25)
            if ready:
                try:
                    data = os.read(terminal, 65536)
                except OSError:  # the command has ended
                    data = b""
                if not data:
                    return asked, shown
                text = data.decode("utf-8", "replace")
                if "\x1b[6n" in text:  # where is the cursor?
                    os.write(terminal, b"\x1b[1;1R")
                shown += SEQUENCE.sub("", text)
                continue
            # It waits: for an answer, if the last question is a new one.
            question = shown.rpartition(MARK)[2].strip().partition("\n")[0].strip()
            if question and (not asked or asked[-1] != question):
                asked.append(question)
                typed = iter([ENTER])
                for part, texts in (keys or {}).items():
                    if part in question:
                        typed = iter(texts)
            if question and (text := next(typed, "")):
                os.write(terminal, text.encode())
        raise TimeoutError(shown[-2000:])
    finally:
        os.close(terminal)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
