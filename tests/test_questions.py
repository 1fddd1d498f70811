"""What `copier copy` asks a person, and what becomes of answers that are not asked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import Project
from generator import facts, options
from test_commands import commit

terminal = pytest.importorskip("terminal", exc_type=ImportError)  # there is none on Windows

COPIER = [sys.executable, "-m", "copier"]
# What is asked only of those who want to change it.
REST = [
    name for name, entry in facts.questions().items() if "change_rest" in str(entry.get("ask", ""))
]


def answers_of(project: Path) -> dict[str, Any]:
    """Return the answers that a project remembers."""
    content = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    return {name: x for name, x in content.items() if not name.startswith("_")}


def is_asked(name: str, asked: list[str]) -> bool:
    """Tell whether a question is among those that were shown, of which each is cut off."""
    return any(options.questions()[name].help.startswith(text[:60]) for text in asked)


def test_the_rest_is_not_asked_and_keeps_its_answers(
    released_template: Path, tmp_path: Path
) -> None:
    data = ["-d", "max_pictures=3", "-d", "deploy=[docker]", "-d", "backend=onnxruntime"]
    copy = [*COPIER, "copy", *data, str(released_template)]
    asked, shown = terminal.answer([*copy, "project"], tmp_path)
    project = tmp_path / "project"
    assert project.is_dir(), shown
    assert len(asked) <= 14
    assert not [name for name in REST if is_asked(name, asked)]
    assert is_asked("change_rest", asked)
    subprocess.run([*copy, "--defaults", "other"], cwd=tmp_path, check=True, capture_output=True)
    answers = answers_of(project)
    assert answers == answers_of(tmp_path / "other")
    assert "change_rest" not in answers
    assert (answers["max_pictures"], answers["deploy"]) == (3, ["docker"])
    # An update asks what a copy asks, and offers the answers that there are.
    commit(project)
    asked, _ = terminal.answer([*COPIER, "update", "--vcs-ref=:current:"], project)
    assert is_asked("num_classes", asked)
    assert not [name for name in REST if is_asked(name, asked)]
    assert answers_of(project) == answers
    command = [*COPIER, "update", "--defaults", "--vcs-ref=:current:", "-d", "max_pictures=4"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    assert answers_of(project) == {**answers, "max_pictures": 4}


@pytest.mark.slow
def test_the_rest_is_asked_and_a_file_that_holds_its_network_needs_no_name(
    released_template: Path, tmp_path: Path
) -> None:
    up, clear = "\x1b[A", "\x15"
    keys = {
        "Which family": [up + "\r"],  # to the last one
        "What is the model called": [f"{clear}My Model\r", f"{clear}my-model\r"],
        "Change the rest": ["y"],
    }
    copy = [*COPIER, "copy", "-d", "deploy=[docker]", str(released_template), "project"]
    asked, shown = terminal.answer(copy, tmp_path, keys)
    answers = answers_of(tmp_path / "project")
    assert "write my-model" in shown  # where a line has 80 columns
    assert answers["model_name"] == "my-model"
    assert not is_asked("architecture", asked)
    assert (answers["architecture"], answers["weights"]) == ("custom", "torchscript")
    # An image as most networks have it, and not the tiny one of the template's own network.
    assert (answers["color_mode"], answers["transforms"]) == ("RGB", "imagenet")
    # What runs a TorchScript file is its own loader; and -d is not asked.
    of_texts = set(facts.inputs()["text"]["questions"])
    not_asked = {name for name in REST if not is_asked(name, asked)} - of_texts
    assert not_asked == {"backend", "precision", "deploy"}


@pytest.mark.parametrize(
    ("answers", "command"),
    [
        ({"deploy": "docker"}, "-d 'deploy=[docker]'"),
        ({"deploy": "docker,kserve"}, "-d 'deploy=[docker,kserve]'"),
        ({"own_files": "README.md"}, "-d 'own_files=[README.md]'"),
    ],
    ids=str,
)
def test_a_value_where_a_list_belongs_is_answered_with_the_list(
    copy_project: Callable[..., Project], answers: dict[str, str], command: str
) -> None:
    with pytest.raises(ValueError, match=r"write -d") as error:
        copy_project(**answers)
    assert command in str(error.value)
    name, _, value = command.removeprefix("-d ").strip("'").partition("=")
    project = copy_project(**{name: value})  # as Copier's -d gives it
    assert answers_of(project.path)[name] == yaml.safe_load(value)


def test_the_generator_takes_a_value_where_a_list_belongs() -> None:
    assert options.parse(["deploy=docker"]) == {"deploy": ["docker"]}
    assert options.parse(["deploy=docker,kserve"]) == {"deploy": ["docker", "kserve"]}
    assert options.parse(["deploy=[docker]"]) == {"deploy": ["docker"]}
