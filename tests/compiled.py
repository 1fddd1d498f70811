"""Remembers what Copier's renders compile and parse, for all tests of a process.

`tests/forked.py` forks from one that has imported this and rendered some projects.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from generator.compiled import remember


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
