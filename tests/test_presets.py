"""The ready files of answers, and the sample projects that are rendered from them."""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import REPOSITORY, ts_template
from generator import options
from generator.origin import EDITORS

NAMES = sorted(path.stem for path in (REPOSITORY / "presets").glob("*.yml"))


def read(folder: Path) -> dict[str, list[str]]:
    """Return the lines of all files that git would take."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8").splitlines(True)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and "_cache" not in str(path)
    }


def presets(root: Path, *words: str) -> str:
    """Run `ts-template presets` in a checkout, and return what it prints."""
    result = ts_template("presets", *words, cwd=root, root=root)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_samples_are_what_the_presets_render_to(tmp_path: Path) -> None:
    checkout = tmp_path / "a checkout at another place, whose path is long enough to be wrapped"
    checkout.mkdir()
    for name in ("copier.yml", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, checkout)
    for name in ("generator", "presets", "template"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, checkout / name, ignore=ignored)
    presets(checkout, "--write")
    fresh, kept = read(checkout / "samples"), read(REPOSITORY / "samples")
    differing = [
        line
        for name in sorted(fresh.keys() | kept.keys())
        for line in difflib.unified_diff(
            kept.get(name, []), fresh.get(name, []), f"samples/{name}", f"rendered/{name}"
        )
    ]
    assert not differing, "Run: ts-template presets --write\n" + "".join(differing)
    assert {name.partition("/")[0] for name in kept} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_a_file_of_answers(name: str) -> None:
    path = REPOSITORY / "presets" / f"{name}.yml"
    assert list(options.check(path)) == []
    listed = presets(REPOSITORY)
    assert re.search(rf"^    (uv run .+ )?copier copy --data-file {path} ", listed, re.MULTILINE)


def test_a_preset_can_be_printed_to_make_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "answers.yml"
    path.write_text(presets(REPOSITORY, "digits"), encoding="utf-8")
    stored = REPOSITORY / "presets" / "digits.yml"
    assert yaml.safe_load(path.read_text("utf-8")) == yaml.safe_load(stored.read_text("utf-8"))
    assert EDITORS in path.read_text("utf-8").splitlines()
    refused = ts_template("presets", "digit")
    assert refused.returncode == 1 and "did you mean digits?" in refused.stderr


def test_copier_takes_a_preset(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "copier", "copy", "--defaults", "--vcs-ref=HEAD"]
    command += ["--data-file", str(REPOSITORY / "presets" / "own-classes.yml")]
    result = subprocess.run(
        [*command, "-d", "num_classes=3", "-d", "top_k=2", str(REPOSITORY), str(tmp_path / "p")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    answers = yaml.safe_load((tmp_path / "p" / ".copier-answers.yml").read_text())
    expected = {"label_format": "folders", "weights": "checkpoint", "num_classes": 3, "top_k": 2}
    assert expected.items() <= answers.items()
