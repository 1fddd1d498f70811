"""What a shell completes: bash, as a person types in it."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", exc_type=ImportError)  # there is none on Windows

COMMAND = Path(sys.executable).with_name("ts-template")
SCRIPT = "_TS_TEMPLATE_COMPLETE"
pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or not COMMAND.is_file(), reason="needs bash, and ts-template"
)
SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07)|\x07|\r")
PROMPT = "ready> "


class Bash:
    """A bash in a terminal, which has the completion of ts-template."""

    def __init__(self, folder: Path) -> None:
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            settings = {"PS1": PROMPT, "TERM": "dumb", "HISTFILE": "", "INPUTRC": os.devnull}
            command = ["bash", "--norc", "--noprofile", "-i"]
            os.execvpe(command[0], command, {**os.environ, **settings})
        self.type(f'eval "$({SCRIPT}=source_bash ts-template)"\n', f"\n{PROMPT}")

    def type(self, keys: str, expected: str, seconds: float = 60) -> str:
        """Type, and return what is shown then, as soon as that has what is expected."""
        os.write(self.terminal, keys.encode())
        text, end = "", time.monotonic() + seconds
        while expected not in text:
            assert time.monotonic() < end, f"no {expected!r} in {text!r}"
            if select.select([self.terminal], [], [], 0.5)[0]:
                data = os.read(self.terminal, 65536).decode("utf-8", "replace")
                text += SEQUENCE.sub("", data)
        return text

    def complete(self, words: str, expected: str) -> str:
        """Complete a line, and return what is shown; then leave the line."""
        shown = self.type(f"{words}\t\t", expected)
        self.type("\x15echo done\n", "\ndone\n")
        return shown

    def end(self) -> None:
        """End it."""
        os.close(self.terminal)
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bash]:
    folder = tmp_path_factory.mktemp("here")
    (folder / "best-of-all.pth").touch()
    started = Bash(folder)
    yield started
    started.end()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ts-template insp", "ts-template inspect "),
        ("ts-template new --wei", "--weights"),
        ("ts-template new p --weights best", "best-of-all.pth"),
        ("ts-template presets dig", "digits"),
        ("ts-template new p -d architecture=maxv", "architecture=maxvit_t"),
        ("ts-template new p -d num_cl", "num_classes="),
    ],
    ids=str,
)
def test_bash_completes(bash: Bash, words: str, expected: str) -> None:
    bash.complete(words, expected)


def test_bash_lists_what_there_is(bash: Bash) -> None:
    shown = bash.complete("ts-template new p -d precision=", "int8")
    assert {"fp32", "bf16", "fp16"} <= {*shown.split()}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_whole_words(shell: str, tmp_path: Path) -> None:
    words = "ts-template new p -d architecture=maxv"
    asked = {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment = {**os.environ, **asked, SCRIPT: f"complete_{shell}"}
    found = subprocess.run(
        [COMMAND], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "architecture=maxvit_t" in found.stdout
    source = {**os.environ, SCRIPT: f"source_{shell}"}
    script = subprocess.run([COMMAND], env=source, capture_output=True, text=True, check=True)
    assert "ts-template" in script.stdout
