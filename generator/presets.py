"""Ready files of answers, and the sample projects that are rendered from them."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from generator.answers_file import ANSWERS_FILE
from generator.errors import UserError
from generator.origin import EDITORS
from generator.rendering import plain_copy, render, template_root

# What Copier writes of the place and the commit of the template: other ones with each checkout.
ORIGIN = re.compile(r"^_(commit|src_path): .*\n(  .*\n)*", re.MULTILINE)


@dataclass(frozen=True)
class Preset:
    """A file for `copier copy --data-file`.

    Attributes:
        path: the file.
        title: what it is for.
        answers: by question; all others are asked.
        text: the file as it is for another folder, where its schema has an address.
    """

    path: Path
    title: str
    answers: dict[str, Any]
    text: str


def presets() -> dict[str, Preset]:
    """Return the presets by name."""
    found = {}
    for path in sorted((template_root() / "presets").glob("*.yml")):
        text = path.read_text(encoding="utf-8")
        title = text.partition("\n")[0].removeprefix("#").strip()
        moved = re.sub(r"^# yaml-language-server: .*", EDITORS, text, flags=re.MULTILINE)
        found[path.stem] = Preset(path, title, yaml.safe_load(text), moved)
    return found


def write_samples() -> list[Path]:
    """Render every preset anew into the checkout's samples/, and return the projects.

    What a preset leaves open takes its default.

    Raises:
        UserError: There is no checkout.
    """
    root = template_root()
    if not (root / "pyproject.toml").is_file():
        raise UserError("the sample projects are in the repository; run this in a clone of it")
    samples = root / "samples"
    with tempfile.TemporaryDirectory(prefix=".samples-", dir=root) as folder:
        template, fresh = plain_copy(Path(folder, "template")), Path(folder, "samples")
        for name, preset in presets().items():
            render(fresh / name, preset.answers, template)
            answers = fresh / name / ANSWERS_FILE
            text = answers.read_text(encoding="utf-8")
            answers.write_text(ORIGIN.sub("", text), encoding="utf-8")
        if samples.exists():
            samples.rename(Path(folder, "before"))
        shutil.move(fresh, samples)
    return [samples / name for name in presets()]
