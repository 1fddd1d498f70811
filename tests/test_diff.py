"""`ts-template diff`: what an update would change, held against what it changes."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from copier import Settings, run_copy

import forked
from conftest import ts_template
from generator.rendering import plain_copy
from test_commands import commit, git

terminal = pytest.importorskip("terminal", exc_type=ImportError)  # there is none on Windows

ANSWERS = {"architecture": "custom", "num_classes": 4, "label_format": "none"}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with two releases; the second changes a file and adds one."""
    root = plain_copy(tmp_path_factory.mktemp("history") / "ts-template")
    commit(root)
    git(root, "tag 1.0.0")
    project = root / "template" / "project"
    config = project / "config.properties.jinja"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("# copier", "# Newer. copier", 1), encoding="utf-8")
    (project / "NEWS.md").write_text("News.\n")
    git(root, "add -A")
    git(root, "commit -qm second")
    git(root, "tag 1.1.0")
    return root


@pytest.fixture(scope="module")
def rendered(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the first release, which is committed."""
    path = tmp_path_factory.mktemp("rendered") / "our service"
    run_copy(
        str(history),
        path,
        data=ANSWERS,
        vcs_ref="1.0.0",
        defaults=True,
        quiet=True,
        settings=Settings(),
    )
    commit(path)
    return path


@pytest.fixture
def project(rendered: Path, tmp_path: Path) -> Path:
    """A copy of that project, to change."""
    return Path(shutil.copytree(rendered, tmp_path / rendered.name, symlinks=True))


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """Return the content and the mode of all files in a folder, those of git included."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def diff(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `ts-template diff`, and see that the project stays as it is."""
    before = state(project)
    result = ts_template("diff", str(project), *words)
    assert state(project) == before
    return result


def copier_update(project: Path, *words: str) -> None:
    """Run `copier update` as a user does."""
    result = forked.run(["-m", "copier", "update", "--defaults", *words], project)
    assert result.returncode == 0, result.stderr


def test_the_diff_is_what_an_update_changes(project: Path) -> None:
    (project / "model-config.yaml").open("a").write("# Ours.\n")
    git(project, "commit -qam ours")
    shown = diff(project)
    assert "template 1.0.0 to 1.1.0" in shown.stderr and "conflict" not in shown.stderr
    assert "+News.\n" in shown.stdout and "Ours." not in shown.stdout
    copier_update(project)
    git(project, "add -A")
    assert shown.stdout == git(project, "diff --cached HEAD")
    git(project, "commit -qm updated")
    again = diff(project)
    assert (again.stdout, again.returncode) == ("", 0)
    assert "nothing would change" in again.stderr


def test_the_command_that_is_printed_makes_the_change(project: Path) -> None:
    shown = diff(project, "-d", "num_classes=6", "-d", "top_k=2")
    assert "+++ b/NEWS.md" not in shown.stdout  # of the release that it has
    (command,) = (line for line in shown.stderr.splitlines() if line.startswith("    cd "))
    python = f"{sys.executable} -m copier"
    subprocess.run(
        command.replace("copier", python, 1), shell=True, check=True, capture_output=True
    )
    git(project, "add -A")
    assert shown.stdout == git(project, "diff --cached HEAD")
    assert "num_classes: 6" in (project / ".copier-answers.yml").read_text()


def test_edits_that_are_not_committed_count_and_conflicts_are_named(project: Path) -> None:
    config = project / "config.properties"
    first, _, rest = config.read_text().partition("\n")
    config.write_text(f"# Ours.\n{rest}")
    (project / "tests" / "test_ours.py").write_text("")
    (project / "weights" / "large.pth").write_bytes(bytes(11_000_000))
    shown = diff(project)
    assert "conflict: you and the template changed the same lines of config.properties" in (
        shown.stderr
    )
    assert shown.stdout.count("+<<<<<<< before updating") == 1
    assert "test_ours.py" not in shown.stdout
    assert first.startswith("# copier")


def test_a_diff_may_count_the_lines_alone(project: Path) -> None:
    shown = diff(project, "--vcs-ref", "1.1.0", "-d", "timm_name=resnet18", "--stat")
    assert " NEWS.md " in shown.stdout and " 1 +" in shown.stdout
    assert "@@" not in shown.stdout
    assert "--vcs-ref=1.1.0 -d timm_name=resnet18" in shown.stderr
    assert "timm_name has no effect" in shown.stderr


def test_a_project_need_be_no_repository_and_may_lie_in_a_larger_one(
    project: Path, tmp_path: Path
) -> None:
    shutil.rmtree(project / ".git")
    shown = diff(project, "-d", "num_classes=6").stdout
    assert "+num_classes: 6" in shown
    (tmp_path / "others.txt").write_text("not ours")
    commit(tmp_path)
    assert diff(project, "-d", "num_classes=6").stdout == shown


def test_an_answers_file_may_have_another_name(project: Path) -> None:
    git(project, "mv .copier-answers.yml .service.yml")
    shown = diff(project, "-d", "num_classes=6", "-a", ".service.yml")
    assert "--answers-file=.service.yml" in shown.stderr
    assert "+num_classes: 6" in shown.stdout
    refused = diff(project)
    assert refused.returncode == 1 and "has no .copier-answers.yml" in refused.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-d", "num_classes=0"], "write 2 or more"),
        (["-d", "num_clases=3"], "did you mean num_classes?"),
        (["--vcs-ref", "7.7.7"], "7.7.7"),
    ],
    ids=str,
)
def test_what_copier_refuses_is_said_and_nothing_else(
    project: Path, words: list[str], reason: str
) -> None:
    shown = diff(project, *words)
    assert shown.returncode == 1
    assert shown.stderr.startswith("error: ") and reason in shown.stderr
    assert shown.stdout == "" and "Traceback" not in shown.stderr


def test_a_project_from_between_two_releases_is_told_of_the_branch(
    history: Path, tmp_path: Path
) -> None:
    template = tmp_path / "template"
    git(tmp_path, f"clone --quiet {shlex.quote(str(history))} template")
    (template / "template" / "project" / "MORE.md").write_text("More.\n")
    git(template, "add -A")
    git(template, "commit -qm third")
    path = tmp_path / "ours"
    options: Any = {"defaults": True, "quiet": True, "settings": Settings(), "vcs_ref": "HEAD"}
    run_copy(str(template), path, data=ANSWERS, **options)
    commit(path)
    (template / "template" / "project" / "MORE.md").write_text("Even more.\n")
    git(template, "commit -qam fourth")
    shown = diff(path)
    assert shown.returncode == 1 and "--vcs-ref=HEAD takes the main branch" in shown.stderr
    shown = diff(path, "--vcs-ref=HEAD")
    assert shown.returncode == 0 and "+Even more." in shown.stdout


def test_no_folder_but_that_of_a_project_is_compared(tmp_path: Path) -> None:
    template = plain_copy(tmp_path / "template")
    run_copy(str(template), tmp_path / "project", data=ANSWERS, defaults=True, quiet=True)
    shown = ts_template("diff", str(tmp_path / "project"))
    assert "no git repository: no update is possible" in shown.stderr


def test_there_are_colours_on_a_terminal(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    words = [sys.executable, "-m", "generator.cli", "diff", str(project), "-d", "num_classes=6"]
    monkeypatch.setattr(terminal, "SEQUENCE", re.compile("(?!)"))  # which it would leave out
    _, text = terminal.answer(words, Path(__file__).parent.parent)
    assert "\x1b[32m+" in text
