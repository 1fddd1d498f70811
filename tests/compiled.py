"""Remembers what Copier's renders compile, parse and ask git, for all tests of a process.

`tests/forked.py` forks from one that has imported this and rendered some projects.
"""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from copier._main import Worker

from generator.compiled import remember

sync_anew = Worker._sync_git_index_executable_bit


@cache
def is_blind_to_modes(folder: Path) -> bool:
    """Tell whether git takes no note there of which files may be run."""
    command = ["git", "config", "--type=bool", "--get", "core.fileMode"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return result.stdout.strip() == "false"


def sync_once(self: Worker, path: Path, mode: int) -> None:
    """Do what Copier does after each file, but ask git once for each folder."""
    if is_blind_to_modes(self.subproject.local_abspath):
        sync_anew(self, path, mode)


def warm() -> None:
    """Render projects that between them have most files."""
    from generator.rendering import plain_copy, render

    with tempfile.TemporaryDirectory() as folder:
        template = plain_copy(Path(folder, "template"))
        for name, answers in enumerate(
            (
                {"deploy": ["docker", "ray_serve"], "evaluation": True},
                {"architecture": "custom"},
                {"task": "text_classification"},
            )
        ):
            render(Path(folder, str(name)), answers, template)


remember()
Worker._sync_git_index_executable_bit = sync_once  # type: ignore[method-assign]
