"""The commands that messages print, run as they stand, where a user meets them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import forked
from conftest import REPOSITORY, Project, in_shell
from generator.rendering import plain_copy
from test_archive import network_state

ANSWERS = {"architecture": "custom", "num_classes": 4, "label_format": "none"}


def copier_copy(template: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `copier copy --defaults` from a folder, as a user does."""
    data = (f"--data={name}={value}" for name, value in ANSWERS.items())
    command = ["-m", "copier", "copy", "--defaults", *data, str(template), *words]
    result = forked.run(command, cwd)
    assert result.returncode == 0, result.stderr
    return result


def answers_of(path: Path) -> dict[str, Any]:
    """Return the content of an answers file."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def git(folder: Path, command: str) -> str:
    """Run a git command, with an identity, and return what it prints."""
    result = in_shell(f"git {command}", folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def commit(project: Path) -> None:
    """Make a project a repository, and commit all of it."""
    git(project, "init -q")
    git(project, "add -A")
    git(project, "commit -qm start")


def edit(project: Path) -> None:
    """Do what is not committed: change a file, and add one."""
    (project / "config.properties").open("a").write("# Ours.\n")
    (project / "tests" / "test_ours.py").write_text("")


def put_into_larger_repository(project: Path) -> None:
    """Make the folder around a project a repository, with work of others that is not committed."""
    git(project.parent, "init -q")
    (project.parent / "others.txt").write_text("not ours")
    git(project.parent, "add others.txt")


def as_rendered(project: Path) -> None:
    """Leave a project as it is."""


def edited(project: Path) -> None:
    """Commit a project, and change it."""
    commit(project)
    edit(project)


@pytest.mark.parametrize(
    ("prepare", "name", "answers_file", "elsewhere"),
    [
        pytest.param(
            *(as_rendered, "project", ".copier-answers.yml", False),
            id="no-repository",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(commit, "project", ".copier-answers.yml", False),
            id="committed",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(edited, "project", ".copier-answers.yml", False),
            id="uncommitted",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(commit, "project", ".service.yml", False),
            id="another-answers-file",
            marks=pytest.mark.slow,
        ),
        pytest.param(as_rendered, "it's our $5 service", "our answers.yml", True, id="blanks"),
        pytest.param(
            put_into_larger_repository, "project", "conf/answers.yml", True, id="in-a-larger-one"
        ),
    ],
)
def test_the_command_that_changes_an_answer_runs_as_it_is_printed(
    released_template: Path,
    tmp_path: Path,
    prepare: Callable[[Path], None],
    name: str,
    answers_file: str,
    elsewhere: bool,
) -> None:
    project, cwd = tmp_path / name, tmp_path if elsewhere else tmp_path / name
    copier_copy(released_template, "--answers-file", answers_file, name, cwd=tmp_path)
    prepare(project)
    before = git(project, "rev-parse HEAD") if (project / ".git").exists() else ""
    # What every message ends with; test_archive.py and others have it from archive.py itself.
    code = "from tools.project import change_answer as c; print(c(num_classes=6))"
    script = f"import sys; sys.path.insert(0, {str(project)!r}); {code}"
    printed = in_shell(shlex.join([sys.executable, "-c", script]), cwd)
    assert printed.returncode == 0, printed.stderr
    result = in_shell(printed.stdout, cwd)
    assert result.returncode == 0, result.stdout + result.stderr
    assert answers_of(project / answers_file)["num_classes"] == 6
    if prepare is commit:  # there was nothing to commit
        assert git(project, "rev-parse HEAD") == before
    elif prepare is edited:
        assert "# Ours." in (project / "config.properties").read_text()
    elif prepare is put_into_larger_repository:
        assert git(project.parent, "status --porcelain others.txt") == "A  others.txt\n"


def test_a_project_of_a_template_without_git_is_rendered_anew(tmp_path: Path) -> None:
    # As from GitHub's "Download ZIP".
    template = plain_copy(tmp_path / "ts-template-main")
    printed = copier_copy(template, "project", cwd=tmp_path).stderr
    assert f"{template} is no git repository" in printed
    project = Project(tmp_path / "project")
    commit(project.path)
    edit(project.path)
    code = "from tools.project import change_answer as c; print(c(num_classes=6))"
    result = in_shell(project.run("-c", code).stdout, project.path)
    assert result.returncode == 0, result.stderr
    assert answers_of(project.path / ".copier-answers.yml")["num_classes"] == 6
    assert "# Ours." in git(project.path, "show HEAD:config.properties")


@pytest.mark.parametrize("name", ["project", "our service", "it's $HOME"])
def test_the_message_after_a_copy_leads_into_the_project(
    released_template: Path, tmp_path: Path, name: str
) -> None:
    printed = copier_copy(released_template, name, cwd=tmp_path).stderr
    (command,) = re.findall(r"^ *(cd .*)", printed, re.MULTILINE)
    assert in_shell(f"{command} && ls archive.py", tmp_path).stdout == "archive.py\n"
    # A clone is no address for others.
    assert f"names {released_template} as the template, which only this machine has" in printed


def test_what_is_missing_is_named_with_a_command_that_runs_from_anywhere(
    released_template: Path, tmp_path: Path
) -> None:
    copier_copy(released_template, "our service", cwd=tmp_path)
    project = tmp_path / "our service"
    torch.save(network_state(), project / "weights" / "w.pth")
    python = shlex.quote(sys.executable)
    refused = in_shell(f"{python} 'our service'/serve.py", tmp_path)
    found = re.search(r"with: (.* python archive\.py)", refused.stderr)
    assert found, refused.stderr
    built = in_shell(found[1].replace("python", python), tmp_path)
    assert built.returncode == 0, built.stderr


def test_the_commands_of_ts_template_run_as_they_are_printed(tmp_path: Path) -> None:
    answers = tmp_path / "our answers.yml"
    answers.write_text(yaml.safe_dump(ANSWERS))
    checked = in_shell(f"{sys.executable} -m generator.cli check '{answers}'", REPOSITORY)
    given = in_shell(f"{sys.executable} -m generator.cli presets", REPOSITORY)
    commands = [checked.stdout.partition("Use it with: ")[2].strip()]
    commands += re.findall(r"^ +(.*copier copy .* digits)$", given.stdout, re.MULTILINE)
    for command, project in zip(commands, ("PROJECT", "digits"), strict=True):
        # What is left to ask is asked in a terminal.
        command = command.replace("copier copy", "copier copy --defaults")
        target = tmp_path / project
        result = in_shell(f"{command.removesuffix(project)}'{target}'", REPOSITORY)
        assert result.returncode == 0, result.stderr
        assert (target / "archive.py").is_file()
