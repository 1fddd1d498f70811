"""`ts-template diff`: what an answer or a release would change in a project, before it does."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.answers_file import ANSWERS_FILE, answers_in
from generator.errors import UserError

LARGE = 10_000_000  # bytes; no file that the template renders comes near
CURRENT = ":current:"  # Copier's name for the release that a project has
# Whatever the user has set for git: a copy has neither hooks nor signatures.
GIT = [
    *("git", "-c", "core.hooksPath=", "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false"),
    *("-c", "commit.gpgSign=false", "-c", "user.name=ts-template", "-c", "user.email=none@invalid"),
    *("-c", "core.quotePath=false", "-c", "core.safecrlf=false"),
]


@dataclass(frozen=True)
class Difference:
    """What `copier update` would change in a project.

    Attributes:
        text: the changes, as git shows them; empty if there are none.
        before, after: the releases of the template.
        files: the files that would change.
        conflicts: those of them in which the user and the template changed the same lines.
        unused: answers that were given and have no effect.
    """

    text: str
    before: str
    after: str
    files: list[str]
    conflicts: list[str]
    unused: list[str]


def difference(
    project: Path,
    answers: Mapping[str, Any],
    release: str = "",
    *,
    answers_file: str = ANSWERS_FILE,
    stat: bool = False,
    colour: bool = False,
) -> Difference:
    """Update a copy of a project, and return what that changes; the project stays as it is.

    What is not committed counts as what is.

    Args:
        project: Its folder.
        answers: Answers by question, in place of those that it has.
        release: The release of the template, or a branch or commit of it; empty takes the newest,
            or with answers the one that the project has.
        answers_file: The file with its answers, relative to the folder.
        stat: Whether to return how many lines change, in place of the lines.
        colour: Whether to return colours for a terminal.

    Raises:
        UserError: It is no project that can be updated, or Copier refuses an answer.
    """
    before = origin(project, answers_file)
    with tempfile.TemporaryDirectory(prefix="ts-template-diff-") as folder:
        copy = Path(folder, "project")
        copy_files(project, copy, Path(folder, "index"))
        git(copy, "init", "--quiet")
        git(copy, "add", "--all", "--force")
        git(copy, "commit", "--quiet", "--allow-empty", "--no-verify", "--message=As it is")
        update(copy, answers, release or (CURRENT if answers else ""), answers_file)
        conflicts = git(copy, "diff", "-z", "--name-only", "--diff-filter=U").split("\0")
        git(copy, "add", "--all", "--force")
        shown = ["diff", "--cached", "--no-ext-diff", "--no-textconv", "HEAD"]
        options = [f"--color={'always' if colour else 'never'}", *["--stat"] * stat]
        files = git(copy, *shown, "-z", "--name-only", "--no-renames").split("\0")
        after = answers_in(copy, answers_file)
        return Difference(
            text=git(copy, *shown, *options),
            before=before,
            after=str(after.get("_commit", "")),
            files=[*filter(None, files)],
            conflicts=[*filter(None, conflicts)],
            unused=[name for name in answers if name not in after],
        )


def command(project: Path, words: list[str], release: str, answers_file: str) -> str:
    """Return the command that makes the changes.

    Args:
        project: The project's folder.
        words: Answers, as they were given: question=value.
        release: The release, if one was given.
        answers_file: The file with its answers.
    """
    line = ["copier", "update", "--defaults"]
    if answers_file != ANSWERS_FILE:
        line.append(f"--answers-file={answers_file}")
    if release or words:
        line.append(f"--vcs-ref={release or CURRENT}")
    for word in words:
        line += ["-d", word]
    return f"cd {shlex.quote(str(project))} && {shlex.join(line)}"


def origin(project: Path, answers_file: str) -> str:
    """Return the release of the template that a project has.

    Raises:
        UserError: There is no telling, so that there is no update.
    """
    path = project / answers_file
    answers = answers_in(project, answers_file)
    missing = [name for name in ("_src_path", "_commit") if not answers.get(name)]
    if missing:
        raise UserError(
            f"{path} has no {missing[0]}, as it was rendered from a folder that is no git "
            "repository: no update is possible. Render it from a clone, or from the address"
        )
    return str(answers["_commit"])


def copy_files(project: Path, copy: Path, index: Path) -> None:
    """Copy the files of a project that git tracks or would take; large ones without content.

    Args:
        project: Its folder.
        copy: The new folder.
        index: A folder for git to work in, where the project is in no repository.
    """
    copy.mkdir()
    words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = git(project, *words)
    except UserError:
        git(copy, "init", "--quiet", f"--separate-git-dir={index}")
        (copy / ".git").unlink()
        names = git(project, f"--git-dir={index}", f"--work-tree={project.resolve()}", *words)
    for name in dict.fromkeys(filter(None, names.split("\0"))):
        source, target = project / name, copy / name
        if not source.is_symlink() and not source.is_file():  # deleted, or another repository
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.stat().st_size > LARGE:
            target.touch()
        else:
            shutil.copy(source, target)


def update(copy: Path, answers: Mapping[str, Any], release: str, answers_file: str) -> None:
    """Run `copier update` on a copy of a project.

    Raises:
        UserError: Copier refuses.
    """
    import copier
    from copier.errors import CopierError, CopierWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CopierWarning)
        try:
            copier.run_update(
                copy,
                data=dict(answers),
                answers_file=answers_file,
                vcs_ref=copier.VcsRef.CURRENT if release == CURRENT else release or None,
                defaults=True,
                overwrite=True,
                quiet=True,
                settings=copier.Settings(),  # not what the user has set for other templates
            )
        except (CopierError, ValueError) as error:
            advice = ""
            if "You are downgrading" in str(error) and not release:  # from between two releases
                advice = " There is no newer release yet: --vcs-ref=HEAD takes the main branch"
            raise UserError(f"{error}{advice}") from error
        except Exception as error:  # of a git command; its class belongs to a library of Copier's
            lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
            place = answers_in(copy, answers_file)["_src_path"]
            raise UserError(f"no update from {place}: {lines[-1] if lines else error}") from error


def git(folder: Path, *words: str) -> str:
    """Return what a git command prints.

    Raises:
        UserError: It fails, or there is no git.
    """
    environment = {name: x for name, x in os.environ.items() if not name.startswith("GIT_")}
    try:
        result = subprocess.run(
            [*GIT, *words], cwd=folder, env=environment, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise UserError("there is no git, which shows what changes: install it") from error
    if result.returncode:
        raise UserError(f"git {words[0]}: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout.decode("utf-8", errors="surrogateescape")
