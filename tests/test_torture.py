"""ts-template torture: it passes what is sound, and finds what is not."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import pytest

from conftest import Project, copy_of, spoil_archive, ts_template
from generator import hostile


@pytest.fixture(scope="module")
def project(with_archive: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with an archive."""
    return copy_of(with_archive, tmp_path_factory.mktemp("torture") / "project")


def torture(project: Project, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `ts-template torture`."""
    return ts_template("torture", str(project.path), *options)


@pytest.mark.serve
def test_a_rendered_project_withstands(project: Project, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    options = ["--requests", "600", "--hostile", "200", "--clients", "12", "--report", str(report)]
    result = torture(project, *options)
    assert result.returncode == 0, result.stdout + result.stderr
    text = report.read_text()
    for line in ("wrong predictions | 0", "lost | 0", "that died | 0", "good: afterwards | 200: "):
        assert line in text
    assert re.search(r"once each \| [1-9]", text)
    assert "200 hostile" in text
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


@pytest.mark.slow
@pytest.mark.serve
def test_predictions_that_shift_are_found(project: Project, tmp_path: Path) -> None:
    archive = project.path / "model-store" / "image-classifier.mar"
    sound = archive.read_bytes()
    # Alone, each image still gets the right prediction.
    spoil_archive(
        archive, "handler.py", b"zip(places, predictions,", b"zip(places, predictions[::-1],"
    )
    try:
        result = torture(project, "--requests", "400", "--hostile", "40")
    finally:
        archive.write_bytes(sound)
    assert result.returncode == 1
    assert "First wrong: `good" in result.stdout
    assert "did not withstand" in result.stderr


def test_hostile_files_are_read_or_refused(project: Project) -> None:
    result = torture(project, "--decode", "2000", "--seed", "7")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "| read |" in result.stdout
    assert "| refused with 400 |" in result.stdout


def test_what_else_comes_out_of_a_decoder_is_found(project: Project, tmp_path: Path) -> None:
    images = project.path / "service" / "images.py"
    sound = images.read_text()
    caught = '    except Exception as error:\n        raise ItemError(f"the image file is damaged'
    assert caught in sound
    images.write_text(sound.replace(caught, caught.replace("Exception", "KeyError")))
    try:
        result = torture(project, "--decode", "300")
    finally:
        images.write_text(sound)
    assert result.returncode == 1
    assert "failed: mutated file: " in result.stdout


def test_the_same_seed_sends_the_same(project: Project) -> None:
    first, again, other = (
        [request.body for request in itertools.islice(hostile.requests(seed), 200)]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_mistakes_on_the_command_line_are_named(project: Project, tmp_path: Path) -> None:
    assert "is no project" in torture(Project(tmp_path)).stderr
    assert "--hostile must be" in torture(project, "--requests", "5", "--hostile", "6").stderr
