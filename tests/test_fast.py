"""The fastest exact service: which backend `ts-template new` takes by itself, and why."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import forked
import terminal
from conftest import REPOSITORY, Project, encode, noise, ts_template

# Plain, and as networks are that a backend cannot have.
MODEL = """
import torch


class Network(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=4)
        self.fc = torch.nn.Linear(8, num_classes)

    def forward(self, images):
        features = self.conv(images).relu().mean((2, 3))
        {}
        return self.fc(features)


def build_model(num_classes):
    return Network(num_classes)
"""
PLAIN = "features = features * 4"
BRANCHES = "features = features * 4 if features.sum() > 0 else features"
OTHERWISE = "features = features * (2 if torch.compiler.is_exporting() else 4)"
ANSWERS = ["-d", "transforms=imagenet", "-d", "image_size=32", "-d", "resize_size=32"]


def network(folder: Path, line: str = PLAIN) -> None:
    """Write model.py with a line of its own, and weights.pth of it."""
    (folder / "model.py").write_text(MODEL.format(line))
    namespace: dict[str, Any] = {}
    exec((folder / "model.py").read_text(), namespace)
    torch.manual_seed(0)
    torch.save(namespace["build_model"](4).state_dict(), folder / "weights.pth")


def new(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Make the project `p` with `ts-template new`, and see that it has predicted."""
    source = ("p", "--weights", "weights.pth", "--model", "model.py", "--defaults")
    result = ts_template("new", *source, *ANSWERS, *words, cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "p works. Its README.md tells the rest" in result.stdout
    return result


def answers_of(project: Path) -> dict[str, Any]:
    """Return the answers that a project remembers."""
    answers: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    return answers


def members(project: Path) -> list[str]:
    """Return what is in the archive of a project."""
    (archive,) = (project / "model-store").glob("*.mar")
    return zipfile.ZipFile(archive).namelist()


def test_new_takes_the_backend_that_predicts_the_same_and_is_faster(tmp_path: Path) -> None:
    network(tmp_path)
    printed = new(tmp_path).stdout
    assert "backend: onnxruntime, which predicts as eager does and is mostly faster" in printed
    assert "-d backend=eager)" in printed
    assert answers_of(tmp_path / "p")["backend"] == "onnxruntime"
    assert "model.onnx" in members(tmp_path / "p")
    assert (tmp_path / "p" / "service" / "model.py").read_text() == MODEL.format(PLAIN)
    image = tmp_path / "image.png"
    image.write_bytes(encode(noise(0)))
    shutil.move(tmp_path / "p", tmp_path / "fast")
    printed = new(tmp_path, "-d", "backend=eager").stdout
    assert "backend: eager" in printed and "onnx" not in printed
    fast, eager = (Project(tmp_path / x).predict(image)[0] for x in ("fast", "p"))
    assert {x["index"]: x["probability"] for x in fast} == pytest.approx(
        {x["index"]: x["probability"] for x in eager}, abs=1e-5
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [(BRANCHES, "cannot"), (OTHERWISE, "predicts otherwise than the network that was trained")],
)
def test_new_stays_with_pytorch_where_a_conversion_fails_or_predicts_otherwise(
    tmp_path: Path, line: str, reason: str
) -> None:
    network(tmp_path, line)
    printed = new(tmp_path).stdout
    (said,) = [x for x in printed.splitlines() if "backend: eager, not onnxruntime: " in x]
    assert reason in said
    assert answers_of(tmp_path / "p")["backend"] == "eager"
    assert "model.onnx" not in members(tmp_path / "p")
    assert not (tmp_path / "p" / "tools" / "conversion.py").exists()


def test_what_is_not_the_backends_fault_is_said_once(tmp_path: Path) -> None:
    network(tmp_path)
    (tmp_path / "model.py").write_text("def build_model(num_classes):\n    return absent\n")
    source = ("p", "--weights", "weights.pth", "--model", "model.py", "--defaults")
    result = ts_template("new", *source, *ANSWERS, cwd=tmp_path)
    assert result.returncode == 1
    assert "absent" in result.stderr and "backend: eager" not in result.stdout


def test_new_says_what_to_install(tmp_path: Path) -> None:
    network(tmp_path)
    code = (
        "import sys; sys.modules |= dict.fromkeys(['onnxruntime', 'openvino']); "
        "from generator.cli import main; main()"
    )
    source = ["new", "p", "--weights", "weights.pth", "--model", "model.py", "--defaults"]
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "300", "PYTHONPATH": str(REPOSITORY)}
    result = forked.run(["-c", code, *source, *ANSWERS], tmp_path, environment)
    assert result.returncode == 0, result.stderr
    assert (
        "backend: eager (for onnxruntime: pip install onnxruntime; or for openvino: pip install "
        "openvino)"
    ) in result.stdout
    assert answers_of(tmp_path / "p")["backend"] == "eager"


def test_new_keeps_what_was_answered_in_a_terminal(tmp_path: Path) -> None:
    network(tmp_path)
    words = ["p", "--weights", "weights.pth", "--model", "model.py", *ANSWERS]
    keys = {"Change the rest": ["y"]}
    command = [sys.executable, "-m", "generator.cli", "new", *words]
    asked, shown = terminal.answer(command, tmp_path, keys)
    assert (tmp_path / "p" / "model-store" / "p.mar").is_file(), shown
    assert any("What runs the network" in text for text in asked)
    assert answers_of(tmp_path / "p")["backend"] == "eager"
    assert "backend: " not in shown
