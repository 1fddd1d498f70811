"""`copier update`: from each release to the present, with what people changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from copier import Settings, run_copy, run_recopy, run_update
from packaging.version import Version

from conftest import REPOSITORY, Project, labels_of, noise
from generator import catalogue, options
from generator.rendering import template_root
from test_archive import network_state

# What each release was: copier.yml and what it includes. `ts-template release` adds to them.
RELEASES = {
    path.name.removesuffix(".tar.xz"): path
    for path in sorted(
        Path(__file__).with_name("releases").glob("*.tar.xz"),
        key=lambda path: Version(path.name.removesuffix(".tar.xz")),
    )
}
PRESENT = "9999.0"

PROJECTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "custom": {"architecture": "custom", "num_classes": 4},
    "wrapped": {
        "architecture": "densenet121",
        "num_classes": 3,
        "weights": "wrapped",
        "label_format": "imagenet",
        "response_format": "scores",
    },
    "torchscript": {"architecture": "vit_b_16", "weights": "torchscript", "label_format": "none"},
    "timm": {"architecture": "timm/resnet18", "num_classes": 5, "response_format": "label"},
}


def git(folder: Path, *words: str) -> str:
    """Run git in a folder and return what it prints."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    command = ["git", *identity, "-c", "core.autocrlf=false", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template's repository: a commit and a tag for each release, and for the present."""
    repository = tmp_path_factory.mktemp("history") / "ts-template"
    repository.mkdir()
    git(repository, "init", "-q")
    for version in (*RELEASES, PRESENT):
        for path in repository.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if version == PRESENT:
            root = template_root()
            shutil.copytree(root / "template", repository / "template")
            shutil.copy(root / "copier.yml", repository)
            (repository / "generator").mkdir()
            shutil.copy(root / "generator" / "archs.json", repository / "generator")
        else:
            with tarfile.open(RELEASES[version]) as archive:
                archive.extractall(repository, filter="data")
        git(repository, "add", "-A")
        git(repository, "commit", "-qm", version)
        git(repository, "tag", version)
    return repository


@pytest.fixture
def copy_at(history: Path, tmp_path: Path) -> Callable[..., Project]:
    """Render a project at a release, and commit it."""

    def copy(version: str, name: str = "project", **answers: Any) -> Project:
        run_copy(
            str(history),
            tmp_path / name,
            data=answers,
            vcs_ref=version,
            defaults=True,
            quiet=True,
            settings=Settings(),
        )
        git(tmp_path / name, "init", "-q")
        commit(Project(tmp_path / name))
        return Project(tmp_path / name)

    return copy


def commit(project: Project) -> None:
    """Commit all that a project holds and git does not ignore."""
    git(project.path, "add", "-A")
    git(project.path, "commit", "-qm", "change", "--allow-empty")


def update(project: Project, version: str = PRESENT, **answers: Any) -> None:
    """Update a project to a release, perhaps with other answers."""
    run_update(
        project.path,
        data=answers,
        vcs_ref=version,
        defaults=True,
        overwrite=True,
        quiet=True,
        settings=Settings(),
    )


def content(project: Project, without: Iterable[str] = ()) -> dict[str, str]:
    """Return the texts of a project by path."""
    names = git(project.path, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    paths = {name: project.path / name for name in names if name not in without}
    return {
        name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.is_file()
    }


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("answers", PROJECTS.values(), ids=list(PROJECTS))
def test_an_unedited_project_becomes_what_a_fresh_copy_is(
    copy_at: Callable[..., Project], version: str, answers: Mapping[str, Any]
) -> None:
    project = copy_at(version, **answers)
    update(project)
    # The network is the user's own, and stays what it was.
    owned = {"model.py"} if answers.get("architecture") == "custom" else set()
    assert content(project, owned) == content(copy_at(PRESENT, "fresh", **answers), owned)


@pytest.mark.parametrize("answers", PROJECTS.values(), ids=list(PROJECTS))
def test_an_update_to_the_same_release_changes_nothing(
    copy_at: Callable[..., Project], answers: Mapping[str, Any]
) -> None:
    project = copy_at(PRESENT, **answers)
    before = content(project)
    update(project)
    assert content(project) == before
    run_recopy(
        project.path,
        vcs_ref=PRESENT,
        defaults=True,
        overwrite=True,
        quiet=True,
        settings=Settings(),
    )
    assert content(project) == before


CHANGES: dict[str, dict[str, Any]] = {
    "architecture": {"architecture": "vit_b_16"},
    "classes": {"num_classes": 7},
    "weights": {"weights": "onnx"},
    "label format": {"label_format": "csv"},
    "no labels": {"label_format": "none"},
    "size": {"transforms": "custom", "image_size": 96, "mean": [0.1, 0.2, 0.3]},
    "response": {"response_format": "label"},
}


@pytest.mark.parametrize(
    "change", CHANGES.values(), ids=[name.replace(" ", "-") for name in CHANGES]
)
def test_another_answer_gives_what_a_fresh_copy_with_it_is(
    copy_at: Callable[..., Project], change: Mapping[str, Any]
) -> None:
    project = copy_at(PRESENT, architecture="resnet18", num_classes=5)
    update(project, **change)
    fresh = copy_at(PRESENT, "fresh", **{"architecture": "resnet18", "num_classes": 5, **change})
    # The names of the classes are the user's, whatever the answers.
    labels = {"index_to_name.json", "labels.csv"}
    assert content(project, labels) == content(fresh, labels)
    assert (project.path / "index_to_name.json").is_file()


@pytest.mark.parametrize("version", [*RELEASES, PRESENT])
def test_what_people_change_is_kept_and_answers_stay_the_same(
    copy_at: Callable[..., Project], version: str
) -> None:
    project = copy_at(version, architecture="custom", num_classes=4)
    model = project.path / "model.py"
    model.write_text(model.read_text().replace("nn.ReLU()", "nn.LeakyReLU(0.2)"))
    labels_of(project.path, ["猫", "dog", "emu", "fox"])
    torch.save(network_state(), project.path / "weights" / "run7.pth")
    (project.path / "tests" / "test_mine.py").write_text(
        "def test_mine() -> None:\n    assert True\n"
    )
    edits = {
        "model-config.yaml": ("batchSize: 8", "batchSize: 16"),
        "config.properties": ("http://127.0.0.1:8080", "http://127.0.0.1:9080"),
        "README.md": ("## The files\n", "## Who to ask\n\nThe vision team.\n\n## The files\n"),
    }
    for name, (before, after) in edits.items():
        path = project.path / name
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))
    project.archive()
    picture = project.path.with_suffix(".png")
    noise(0).save(picture)
    answers = project.predict(picture)
    commit(project)
    kept = {
        name: (project.path / name).read_bytes()
        for name in ("model.py", "index_to_name.json", "weights/run7.pth", "tests/test_mine.py")
    }

    update(project)

    assert not [name for name, text in content(project).items() if "<<<<<<<" in text]
    for name, (_, after) in edits.items():
        assert after in (project.path / name).read_text(), name
    for name, before in kept.items():
        assert (project.path / name).read_bytes() == before, name
    project.archive()
    assert project.predict(picture) == answers
    result = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert result.returncode == 0, result.stdout


def test_copier_says_whether_there_is_a_newer_release(copy_at: Callable[..., Project]) -> None:
    project = copy_at(next(iter(RELEASES)))
    command = [sys.executable, "-m", "copier", "check-update", "--output-format", "json"]
    result = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert json.loads(result.stdout)["update_available"] is True, result.stderr


# ------------------------------------------------------------------------------- the interface


def interface(config: Mapping[str, Any], architectures: Iterable[str]) -> dict[str, set[str]]:
    """Return the values of each question that people answer; none for a free text."""
    values: dict[str, set[str]] = {}
    for name, question in config.items():
        if name.startswith("_") or question.get("when") is False:
            continue
        choices = question.get("choices")
        values[name] = set(architectures) if name == "architecture" else set()
        if isinstance(choices, dict):
            values[name] = {x["value"] if isinstance(x, dict) else x for x in choices.values()}
    return values


@pytest.mark.parametrize("version", RELEASES)
def test_no_question_and_no_value_of_a_release_is_gone(version: str) -> None:
    with tarfile.open(RELEASES[version]) as archive:
        files = {name: archive.extractfile(name) for name in ("copier.yml", "generator/archs.json")}
        config, archs = (yaml.safe_load(file.read()) for file in files.values() if file)
    present = interface(options.config(), catalogue.load())
    for name, values in interface(config, archs).items():
        assert name in present, f"{name} was a question of {version}; keep its answer alive"
        assert values <= present[name], f"{name} had more values in {version}: {values}"


# ------------------------------------------------------------------------------------ releasing


def test_a_release_is_a_changelog_entry_a_tag_and_what_the_tests_keep(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(REPOSITORY), str(clone))
    git(clone, "config", "user.name", "Test")
    git(clone, "config", "user.email", "test@example.com")
    changelog = clone / "CHANGELOG.md"
    text = changelog.read_text()
    heading = "## [Unreleased]\n"
    before, _, after = text.partition(heading)
    changelog.write_text(f"{before}{heading}\n### Added\n\n- Something.\n{after}")

    def release(version: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "generator.cli", "release", version],
            cwd=clone,
            env={**os.environ, "PYTHONPATH": str(clone)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert "not committed" in release("99.0").stderr
    commit(Project(clone))
    for version, said in {"1.x": "PEP 440", "99.0-rc1": "99.0rc1", "0.0.1": "not above"}.items():
        assert said in release(version).stderr
    assert git(clone, "status", "--porcelain") == ""
    result = release("99.0")
    assert result.returncode == 0, result.stderr
    assert re.search(r"## \[Unreleased\]\n\n## \[99\.0\] - \d{4}-", changelog.read_text())
    assert '\nversion = "99.0"\n' in (clone / "pyproject.toml").read_text()
    assert "- Something." in git(clone, "tag", "--list", "-n99", "99.0")
    with tarfile.open(clone / "tests" / "releases" / "99.0.tar.xz") as archive:
        assert {"copier.yml", "generator/archs.json"} <= set(archive.getnames())
    assert "nothing under" in release("99.1").stderr
