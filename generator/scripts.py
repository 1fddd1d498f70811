"""Runs the scripts of a project in this environment: archive.py, predict.py."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from generator.errors import UserError
from generator.rendering import runner

# Runs scripts one after another: each by itself would take seconds to import torch. That happens at
# once, while the project is rendered. A line with a zero says that a script has succeeded. Python
# would look through all objects hundreds of times while torch is imported and exports a network:
# that is a fifth of the CPU time.
SCRIPTS = r"""
import contextlib, gc, json, os, runpy, sys
gc.set_threshold(1_000_000)
with contextlib.suppress(ImportError):
    import torch, torchvision.models
for line in sys.stdin:
    folder, sys.argv = json.loads(line)
    sys.path[0] = folder
    sys.argv[0] = os.path.join(folder, sys.argv[0])
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    print("\0", flush=True)
"""

PATIENCE = 10  # seconds for a script to end after Ctrl-C
HEARD = 0.3  # seconds for one that Ctrl-C has reached to begin to remove its files


def path_of_user() -> str:
    """Return the PATH of the user's shell, in which a command that a script prints is run.

    `uv run` puts the programs of this environment, and of what it is made of, before it.
    """
    places = os.environ.get("PATH", "").split(os.pathsep)
    if runner():
        roots = [Path(x).parents[2] for x in sys.path if Path(x).name == "site-packages"]
        added = {Path(sys.executable).parent, *(root / "bin" for root in roots)}
        places = [place for place in places if Path(place) not in added]
    return os.pathsep.join(places)


def environment() -> dict[str, str]:
    """Return the environment of a script."""
    return {**os.environ, "PYTHONIOENCODING": "utf-8", "PATH": path_of_user()}


def trusted(project: Path) -> list[str]:
    """Return the options of archive.py for a project that is as people want it."""
    return [
        option
        for option, module in (
            ("--trust-preprocessing", "preparation.py"),
            ("--trust-scores", "scores.py"),
        )
        if (project / "tools" / module).exists()
    ]


class ScriptError(UserError):
    """A script has failed.

    Attributes:
        reason: what it said.
        step: the last that it began, as archive.py names them; "" without one.
        is_late: whether it was ended for the time that it took.
    """

    def __init__(self, reason: str, step: str, advice: str, *, is_late: bool = False) -> None:
        super().__init__(f"{reason}{advice}")
        self.reason = reason
        self.step = step
        self.is_late = is_late


class Scripts:
    """A process in this environment that runs scripts of a project: SCRIPTS.

    Args:
        variables: of its environment, besides.
    """

    def __init__(self, **variables: str) -> None:
        self._variables = variables

    def __enter__(self) -> Scripts:
        """Start it."""
        with contextlib.ExitStack() as stack:
            self._errors = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            self._process = subprocess.Popen(
                [sys.executable, "-c", SCRIPTS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                # Idle threads sleep; spinning, they keep a busy machine's cores from the others.
                env={"OMP_WAIT_POLICY": "PASSIVE", **environment(), **self._variables},
            )
            stack.enter_context(self._process)
            stack.callback(self._process.kill)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """End it; a script that Ctrl-C ends removes first what it has half made."""
        try:
            if kind is KeyboardInterrupt:
                # Ctrl-C in a terminal has reached it already. Another at once might come between
                # the first one and what removes its files.
                try:
                    self._process.wait(HEARD)
                except subprocess.TimeoutExpired:
                    self._process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(PATIENCE)
        finally:
            self._stack.close()

    def run(
        self,
        project: Path,
        script: str,
        *arguments: str,
        advice: str = "",
        timeout: float | None = None,
    ) -> None:
        """Run a script; what it prints is shown, indented.

        Args:
            project: Its folder.
            script: The file in it.
            arguments: Of its command line.
            advice: What to print after its error.
            timeout: Seconds after which it is ended.

        Raises:
            ScriptError: It failed, and nothing can be run after it.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # its errors tell
            self._process.stdin.write(json.dumps([str(project.resolve()), [script, *arguments]]))
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        step, late = "", threading.Event()
        with ended_after(timeout, self._process, late):
            for line in self._process.stdout:
                if line == "\0\n":
                    return
                if line.strip():
                    print(f"   {line}", end="", flush=True)
                if begun := re.match(r"\[\d+/\d+\] (\w+)", line):
                    step = begun[1]
            status = self._process.wait()
        if late.is_set():
            reason = f"{script} was not done after {timeout:g} s"
            raise ScriptError(reason, step, advice, is_late=True)
        self._errors.seek(0)
        # Warnings of libraries may come before.
        message = re.split(r"^error: ", self._errors.read(), maxsplit=1, flags=re.MULTILINE)[-1]
        how = "has refused, as above" if status > 0 else f"was ended from outside (status {status})"
        reason = message.strip() or f"{script} {how}"
        raise ScriptError(reason, step, advice)


@contextlib.contextmanager
def ended_after(
    timeout: float | None, process: subprocess.Popen[str], late: threading.Event
) -> Iterator[None]:
    """End a process if the block takes longer, and set `late` then."""

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(timeout or threading.TIMEOUT_MAX, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
