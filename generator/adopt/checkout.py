"""Puts a rendered project beside the user's own files, and destroys none of them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from generator.errors import UserError
from generator.rendering import template_root


def static_names() -> list[str]:
    """Return the names of the files that every project has."""
    root = template_root() / "template" / "project"
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name.removesuffix(".jinja") for name in names if "{" not in name)


def git(folder: Path, *words: str) -> str | None:
    """Return what a git command prints; None if it fails or there is no git.

    The repository's own hooks and monitors are not run.
    """
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    try:
        result = subprocess.run(
            [*command, *words], cwd=folder, capture_output=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.decode("utf-8", "surrogateescape") if result.returncode == 0 else None


def is_checkout(folder: Path) -> bool:
    """Tell whether a folder is in a git repository that has commits."""
    return git(folder, "rev-parse", "--verify", "--quiet", "HEAD") is not None


def refuse_to_overwrite(folder: Path, names: Iterable[str]) -> None:
    """See that files can be replaced without loss: all are committed, and nothing else waits.

    Args:
        folder: The user's folder.
        names: Files in it that would be replaced, as relative paths with slashes.

    Raises:
        UserError: They are not committed, with the command that commits them.
    """
    names = sorted(names)
    for name in names:
        if (folder / name).is_dir():
            raise UserError(f"{folder / name} is a folder; a project has a file there. Rename it")
        for parent in (folder / name).relative_to(folder).parents:
            if (folder / parent).exists() and not (folder / parent).is_dir():
                raise UserError(
                    f"{folder / parent} is a file; a project has a folder there. Rename it"
                )
    names = [name for name in names if (folder / name).exists()]
    if not names:
        return
    shown = ", ".join(names)
    quoted = " ".join(shlex.quote(name) for name in names)
    enter = f"cd {shlex.quote(str(folder))}"
    if not is_checkout(folder):
        raise UserError(
            f"{shown} would be replaced, and {folder} is no git checkout with a commit that holds "
            f"them. Run: {enter} && git init && git add -f {quoted} && git add -A && "
            'git commit -m "Before ts-template"'
        )
    tracked = set((git(folder, "ls-files", "-z", "--", *names) or "").split("\0"))
    if lacking := [name for name in names if name not in tracked]:
        quoted = " ".join(shlex.quote(name) for name in lacking)
        raise UserError(
            f"{', '.join(lacking)} would be replaced, and git does not have "
            f"{'it' if len(lacking) == 1 else 'them'}. Run: {enter} && git add -f {quoted} && "
            'git commit -m "Before ts-template"'
        )
    changed = git(folder, "status", "--porcelain", "-z", "--untracked-files=no", "--", ".")
    if changed is None or changed:
        raise UserError(
            f"{folder} has changes that are not committed, and {shown} would be replaced. Run: "
            f'{enter} && git commit -am "Before ts-template"'
        )


def move_into(
    stage: Path, names: Iterable[str], removed: Iterable[str], folder: Path, backup: Path
) -> None:
    """Move files of a rendered project to their places; if one fails, undo them all.

    Args:
        stage: The rendered project.
        names: Its files to move, as relative paths with slashes.
        removed: Files of the user's that go, likewise.
        folder: The user's folder, on the same disk.
        backup: An empty folder there, for what is replaced or goes.
    """
    moved: list[Path] = []
    made: list[Path] = []
    try:
        for name in names:
            target = folder / name
            missing = [p for p in target.relative_to(folder).parents if not (folder / p).exists()]
            for parent in reversed(missing):
                (folder / parent).mkdir()
                made.append(folder / parent)
            if target.exists() or target.is_symlink():
                (backup / name).parent.mkdir(parents=True, exist_ok=True)
                target.replace(backup / name)
            moved.append(target)
            (stage / name).replace(target)
        for name in removed:
            (backup / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).replace(backup / name)
            moved.append(folder / name)
    except BaseException:
        for target in reversed(moved):
            target.unlink(missing_ok=True)
            if (old := backup / target.relative_to(folder)).exists():
                old.replace(target)
        for parent in reversed(made):
            shutil.rmtree(parent, ignore_errors=True)
        raise
