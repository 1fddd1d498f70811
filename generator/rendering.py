"""Renders projects from the template through Copier, as `copier copy` does."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from generator.errors import UserError
from generator.origin import ignored_in, origin_of

HERE = Path(__file__).resolve().parent


def template_root() -> Path:
    """Return the folder that holds copier.yml: the checkout, else what the package brings."""
    return root_beside(HERE)


@cache
def root_beside(package: Path) -> Path:
    """Return the same for the folder of the package; it is looked for once."""
    is_checkout = (package.parent / "copier.yml").is_file()
    return package.parent if is_checkout else package / "_bundle"


def sources(root: Path) -> list[str]:
    """Return what projects are rendered from: files and folders, as paths relative to the root.

    These are copier.yml, the template, and whatever of the generator they name, to include it.
    """
    named: set[str] = set()
    for path in [root / "copier.yml", *(root / "template").rglob("*")]:
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="ignore")
            named.update(name.rstrip("./") for name in re.findall(r"\bgenerator/\w[\w./-]*", text))
    return ["copier.yml", "template", *sorted(name for name in named if (root / name).exists())]


def plain_copy(destination: Path, root: Path | None = None) -> Path:
    """Copy what projects are rendered from, and nothing else: no repository for Copier to ask.

    Args:
        destination: A folder; made if it does not exist.
        root: The folder with copier.yml, if not this one. What its repository ignores is left out.

    Returns:
        The destination.
    """
    root = root or template_root()
    ignored = ignored_in(root)

    def left_out(folder: str, names: Iterable[str]) -> set[str]:
        return {
            x for x in names if x.endswith((".pyc", "__pycache__")) or Path(folder, x) in ignored
        }

    for name in sources(root):
        source, target = root / name, destination / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=left_out, dirs_exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return destination


def runner(requirements: str = "requirements.txt") -> str:
    """Return what a printed command has to begin with: "", or the `uv run` that this runs under.

    Its environment is not that of the user's shell, which finds no ts-template or torch.

    Args:
        requirements: The file that names what the command needs.
    """
    return f"uv run --no-project --with-requirements {requirements} " * ("UV" in os.environ)


def installing(packages: Iterable[str]) -> str:
    """Return, for people, how this comes to have packages: by uv, if it runs under that, or pip."""
    if "UV" in os.environ:
        return f"add {' '.join(f'--with {name}' for name in packages)} after uv run"
    return f"pip install {' '.join(packages)}"


@dataclass(frozen=True)
class Rendered:
    """What came of rendering a project.

    Attributes:
        note: why others cannot update it, for people; empty if they can.
        answers: all answers, those among them that are in no answers file.
    """

    note: str
    answers: Mapping[str, Any]


def render(
    destination: Path,
    answers: Mapping[str, Any],
    template: Path | None = None,
    *,
    proposals: Mapping[str, Any] | None = None,
    ask: bool = False,
    overwrite: bool = False,
) -> Rendered:
    """Render one project.

    What is rendered is the template as it lies on the disk, uncommitted changes included. The
    project remembers where it comes from, so that `copier update` works: the address that a clone
    was made from, if the commit is there; else this folder.

    Args:
        destination: The project's folder; made if it does not exist.
        answers: Answers by question.
        template: The folder with copier.yml, if not this one.
        proposals: Answers that take the place of the defaults, and are asked like them.
        ask: Whether to ask the rest in the terminal; else they take their defaults.
        overwrite: Whether files that are there are written anew, but for those that are a user's.

    Raises:
        copier.CopierError, ValueError: An answer is not valid.
        UserError: There is something to ask, and no terminal.
    """
    import copier
    from copier.errors import InteractiveSessionError

    root = template or template_root()
    origin = origin_of(root, is_installed=root == HERE / "_bundle")
    with contextlib.ExitStack() as stack:
        source = root
        if origin.is_repository:  # which Copier would clone and check out: that takes seconds
            scratch = tempfile.TemporaryDirectory(prefix="ts-template-")
            source = plain_copy(Path(stack.enter_context(scratch)), root)
        try:
            worker = copier.run_copy(
                str(source),
                destination,
                data=dict(answers),
                user_defaults=dict(proposals or {}),
                defaults=not ask,
                overwrite=overwrite,
                quiet=True,
                settings=copier.Settings(),  # not what the user has set for other templates
            )
        except InteractiveSessionError as error:
            raise UserError(
                "there are questions left, and no terminal to ask them in: answer them with -d, or "
                "add --defaults"
            ) from error
    origin.write(destination)
    return Rendered(origin.note, worker.answers.user)
