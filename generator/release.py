"""`ts-template release`: a version of the template, to copy projects at and update them to."""

from __future__ import annotations

import datetime
import lzma
import re
import subprocess
from pathlib import Path

from packaging.version import InvalidVersion, Version

from generator.errors import UserError
from generator.rendering import sources, template_root

UNRELEASED = "## [Unreleased]\n"


def make_release(name: str) -> None:
    """Name the changes a release: changelog, version, what the tests keep of it, commit, tag.

    Args:
        name: The version, as in "1.2.0".

    Raises:
        UserError: It is not a version above the last, there is nothing to release, or the checkout
            has changes that are not committed. Then nothing is changed.
    """
    root = template_root()
    if git(root, "status", "--porcelain"):
        raise UserError(f"{root} has changes that are not committed; commit them first")
    changelog, project = root / "CHANGELOG.md", root / "pyproject.toml"
    releases = root / "tests" / "releases"
    check_version(name, releases)
    before, heading, rest = changelog.read_text(encoding="utf-8").partition(UNRELEASED)
    entries = rest.partition("\n## [")[0].strip()
    if not heading or not entries:
        raise UserError(f"{changelog} has nothing under {UNRELEASED.strip()}; write what changed")
    # Enough for the tests to copy a project at this release and update it.
    archive = subprocess.run(
        ["git", "archive", "--format=tar", "HEAD", *sources(root)],
        cwd=root,
        check=True,
        capture_output=True,
    ).stdout

    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    changelog.write_text(f"{before}{heading}\n## [{name}] - {date}\n{rest}", encoding="utf-8")
    text = project.read_text(encoding="utf-8")
    project.write_text(re.sub(r'(?m)^version = ".*"$', f'version = "{name}"', text, count=1))
    (releases / f"{name}.tar.xz").write_bytes(
        lzma.compress(archive, preset=9 | lzma.PRESET_EXTREME)
    )
    git(root, "add", "CHANGELOG.md", "pyproject.toml", "tests/releases")
    git(root, "commit", "--quiet", "-m", f"Release {name}")
    git(root, "tag", "--annotate", "--cleanup=whitespace", name, "-m", f"{name}\n\n{entries}")


def check_version(name: str, releases: Path) -> None:
    """Raise UserError unless this is a canonical version above those that were released."""
    last = max(Version(path.name.removesuffix(".tar.xz")) for path in releases.iterdir())
    try:
        version = Version(name)
    except InvalidVersion:
        raise UserError(f"{name} is no version as PEP 440 has them, for example {last}") from None
    if str(version) != name:
        raise UserError(f"{name} is written {version}")
    if version <= last:
        raise UserError(f"{name} is not above the last release, {last}")


def git(root: Path, *words: str) -> str:
    """Run git and return what it prints.

    Raises:
        UserError: It fails; the message is git's.
    """
    result = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"git {words[0]}: {result.stderr.strip()}")
    return result.stdout
