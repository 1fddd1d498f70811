"""Where the template comes from: what a project remembers of it, and can be updated from."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import yaml

from generator.answers_file import ANSWERS_FILE

ADDRESS = "https://github.com/org/ts-template"  # of releases
# The JSON Schema of answers: its file, its address as GitHub serves the newest, and the line by
# which editors check and complete a file of answers.
SCHEMA = "presets/answers.schema.json"
SCHEMA_ADDRESS = f"{ADDRESS.replace('github.com', 'raw.githubusercontent.com')}/HEAD/{SCHEMA}"
EDITORS = f"# yaml-language-server: $schema={SCHEMA_ADDRESS}"
# What projects are rendered from, as git takes it.
SOURCES = ("copier.yml", "template", "generator")


@dataclass(frozen=True)
class Origin:
    """What a project is rendered from.

    Attributes:
        is_repository: whether the folder is a git repository.
        remembered: entries of the answers file in place of those that Copier writes.
        note: why others cannot update the project, for people; empty if they can.
    """

    is_repository: bool = False
    remembered: tuple[tuple[str, str], ...] = ()
    note: str = ""

    def write(self, project: Path) -> None:
        """Write into a project's answers file what it is to remember."""
        path = project / ANSWERS_FILE
        text = path.read_text(encoding="utf-8")
        for name, value in self.remembered:
            # A long value may go on in the next line.
            text = re.sub(rf"^{name}: .*\n(  .*\n)*", "", text, flags=re.MULTILINE)
            comments = re.match(r"(#.*\n)*", text)
            end = comments.end() if comments else 0
            text = text[:end] + yaml.safe_dump({name: value}) + text[end:]
        path.write_text(text, encoding="utf-8")


def origin_of(root: Path, *, is_installed: bool) -> Origin:
    """Return the origin of projects that are rendered from a folder.

    Args:
        root: The folder with copier.yml.
        is_installed: Whether it is what an installed ts-template brings, as it was released.
    """
    if is_installed:
        version = metadata.version("ts-template")
        return Origin(remembered=(("_src_path", ADDRESS), ("_commit", version)))
    if git(root, "rev-parse", "--show-prefix") != "\n":
        return Origin(note=f"{root} is no git repository: no `copier update` is possible")
    commit = (git(root, "rev-parse", "HEAD") or "HEAD").strip()
    version = (git(root, "describe", "--tags", "--always") or commit).strip()
    place, note = str(root), ""
    address = address_of(root)
    if git(root, "status", "--porcelain", "--", *SOURCES):
        note = (
            f"the template in {root}, which only this machine has, has changes that are not "
            "committed: `copier update` takes them for yours"
        )
    elif address and git(root, "for-each-ref", "--contains", commit, "refs/remotes/origin"):
        place = address
    else:
        note = (
            f"{ANSWERS_FILE} names {root} as the template, at a commit that only this machine "
            "has. So that others can update the project, push it, and write an address there that "
            f"they reach, such as _src_path: {ADDRESS}"
        )
    return Origin(True, (("_src_path", place), ("_commit", version)), note)


def ignored_in(root: Path) -> set[Path]:
    """Return what git ignores of SOURCES: files, and folders; nothing where there is no git."""
    if git(root, "rev-parse", "--show-prefix") != "\n":
        return set()
    words = ("-z", "--others", "--ignored", "--exclude-standard", "--directory", "--", *SOURCES)
    return {root / name for name in (git(root, "ls-files", *words) or "").split("\0") if name}


def address_of(root: Path) -> str:
    """Return the address that a clone was made from, without passwords; "" if others have none."""
    url = (git(root, "config", "--get", "remote.origin.url") or "").strip()
    if not re.match(r"(https?|ssh|git)://|[\w.-]+@[\w.-]+:", url):
        return ""
    return re.sub(r"^(https?://)[^/@]*@", r"\1", url)


def git(folder: Path, *words: str) -> str | None:
    """Return what a git command prints; None if it fails or there is no git."""
    command = ["git", "-c", "core.fsmonitor=false", *words]
    try:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, encoding="utf-8", check=False
        )
    except OSError:
        return None
    return None if result.returncode else result.stdout
