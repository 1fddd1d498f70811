"""What a project remembers of the template, and whether others can update it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import in_shell, slow
from generator import rendering
from generator.rendering import plain_copy, render
from test_commands import commit, git

ADDRESS = "https://example.com/team/ts-template.git"
ANSWERS = {"architecture": "custom", "num_classes": 4, "label_format": "none"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the template, with a release and a later commit, and a password in its address."""
    folder = plain_copy(tmp_path / "ts-template")
    commit(folder)
    git(folder, "tag 1.0.0")
    git(folder, "commit --allow-empty -qm later")
    git(folder, f"remote add origin {ADDRESS.replace('//', '//me:secret@')}")
    return folder


def push(clone: Path) -> None:
    """Let git know that the address has what the clone has."""
    git(clone, "update-ref refs/remotes/origin/main HEAD")


def remembered(project: Path) -> dict[str, Any]:
    """Return what the answers file says of the template."""
    text = (project / ".copier-answers.yml").read_text(encoding="utf-8")
    assert text.startswith("# Changes here will be overwritten by Copier;")
    return {name: x for name, x in yaml.safe_load(text).items() if name.startswith("_")}


def update(project: Path) -> subprocess.CompletedProcess[str]:
    """Change an answer with Copier, in a project that is committed."""
    commit(project)
    python = f"'{sys.executable}' -m copier"
    return in_shell(f"{python} update --defaults --vcs-ref=:current: -d num_classes=5", project)


def test_a_clone_is_remembered_by_the_address_that_it_was_made_from(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(clone)
    (clone / "runs").mkdir()
    (clone / "runs" / "best.pth").write_bytes(b"not the template's")
    project = tmp_path / "project"
    assert render(project, ANSWERS, clone).note == ""
    assert remembered(project)["_src_path"] == ADDRESS
    assert remembered(project)["_commit"].startswith("1.0.0-1-g")
    for number, (key, value) in enumerate(
        {
            f"url.{clone}.insteadOf": ADDRESS,
            "protocol.file.allow": "always",
        }.items()
    ):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    monkeypatch.setenv("COPIER_CACHE_DIR", str(tmp_path / "cache"))
    result = update(project)
    assert result.returncode == 0, result.stderr
    assert remembered(project)["_src_path"] == ADDRESS


@pytest.mark.parametrize("is_dirty", [slow(False), True], ids=["not-pushed", "not-committed"])
def test_what_others_do_not_have_is_said_and_can_be_updated_here(
    clone: Path, tmp_path: Path, is_dirty: bool
) -> None:
    if is_dirty:
        push(clone)
        (clone / "template" / "project" / "NOTES.md.jinja").write_text("# Changed\n")
    project = tmp_path / "project"
    note = render(project, ANSWERS, clone).note
    assert "only this machine has" in note
    assert remembered(project)["_src_path"] == str(clone)
    assert ((project / "NOTES.md").read_text() == "# Changed\n") == is_dirty
    result = update(project)
    assert result.returncode == 0, result.stderr


def test_an_installed_ts_template_is_remembered_as_its_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import version

    # As hatch_build.py puts it into the wheel.
    bundle = plain_copy(tmp_path / "site-packages" / "generator" / "_bundle")
    monkeypatch.setattr(rendering, "HERE", bundle.parent)
    assert render(tmp_path / "project", ANSWERS).note == ""
    assert remembered(tmp_path / "project") == {
        "_commit": version("ts-template"),
        "_src_path": "https://github.com/org/ts-template",
    }
