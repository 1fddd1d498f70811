"""ts-template adopt: from a hand-written service to a project, beside its files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml
from PIL import Image

import handwritten
from conftest import Project, noise, save_random_weights

# Loads an unpacked archive as TorchServe does, and answers pictures. The package captum, which
# TorchServe's ImageClassifier imports for explanations, is nowhere installed.
RUN = """
import json, sys, types
captum, attr = types.ModuleType("captum"), types.ModuleType("captum.attr")
attr.IntegratedGradients = lambda model: None
sys.modules |= {"captum": captum, "captum.attr": attr}
from ts.context import RequestProcessor
from ts.model_loader import TsModelLoader
folder, handler, *pictures = sys.argv[1:]
sys.path.insert(0, folder)
service = TsModelLoader().load("theirs", folder, handler, batch_size=1)
context = service.context
context.metrics = types.SimpleNamespace(add_time=lambda *values: None)
for picture in pictures:
    context.request_ids = {0: "0"}
    context.request_processor = [RequestProcessor({})]
    with open(picture, "rb") as file:
        (answer,) = service._entry_point([{"body": file.read()}], context)
    print(json.dumps(answer))
"""

Services = Callable[..., Path]


def adopt(
    folder: Path, *arguments: str, code: int = 0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `ts-template adopt`, without a terminal."""
    result = subprocess.run(
        [sys.executable, "-m", "generator.cli", "adopt", str(folder), *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "300"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result


def git(folder: Path, *words: str) -> str:
    """Run git and return what it prints."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    result = subprocess.run(
        ["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return result.stdout


def commit(folder: Path) -> None:
    """Make the folder a git repository with everything in it."""
    git(folder, "init", "-q")
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-qm", "Start")


@pytest.fixture
def service(tmp_path: Path) -> Services:
    """Write a hand-written service: its files, then what changes in them."""

    def write(files: dict[str, str], **changes: tuple[str, str]) -> Path:
        folder = tmp_path / "service"
        for name, text in files.items():
            for old, new in (x for key, x in changes.items() if key == Path(name).stem):
                assert old in text, old
                text = text.replace(old, new)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.removeprefix("\n"), encoding="utf-8")
        return folder

    return write


def network_of(folder: Path, file: str, name: str, *arguments: Any) -> torch.nn.Module:
    """Return the network that a class of theirs makes."""
    namespace: dict[str, Any] = {"__name__": "theirs"}
    exec((folder / file).read_text(encoding="utf-8"), namespace)
    network: torch.nn.Module = namespace[name](*arguments)
    return network


def theirs(folder: Path, archive: list[str], handler: str, *pictures: Path) -> list[Any]:
    """Return what their own handler answers, in an archive as their own command makes it."""
    store, scratch = folder.parent / "theirs", folder.parent / "scratch"
    store.mkdir()
    scratch.mkdir()
    command = [sys.executable, "-m", "model_archiver.model_packaging", *archive]
    command += ["--model-name", "m", "--version", "1", "--archive-format", "no-archive"]
    subprocess.run(
        [*command, "--handler", handler, "--export-path", str(store)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(scratch)},
        check=True,
        capture_output=True,
    )
    result = subprocess.run(
        [sys.executable, "-c", RUN, str(store / "m"), handler, *map(str, pictures)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith(("[", "{"))]


def answers_of(folder: Path) -> dict[str, Any]:
    """Return the answers of the project."""
    answers: dict[str, Any] = yaml.safe_load((folder / ".copier-answers.yml").read_text("utf-8"))
    return answers


def pictures(folder: Path, *sizes: tuple[int, int]) -> list[Path]:
    """Save pictures of noise beside the folder."""
    paths = []
    for seed, size in enumerate(sizes):
        paths.append(folder.parent / f"{seed}.png")
        noise(seed, size).save(paths[-1])
    return paths


SIZES = ((200, 120), (90, 300), (64, 64))


def test_a_handler_with_a_hard_coded_weights_file(service: Services) -> None:
    folder = service(handwritten.BASE)
    network = torchvision.models.mobilenet_v3_small(num_classes=3)
    save_random_weights(network, folder / "flowers_mobilenet.pth")
    commit(folder)
    samples = pictures(folder, *SIZES)
    expected = theirs(
        folder, ["--serialized-file", "flowers_mobilenet.pth"], "handler.py", *samples
    )
    result = adopt(folder, "--defaults")
    assert "replaced: handler.py" in result.stdout
    assert "build.sh:5" in result.stdout
    assert "archive.py --version 2.1" in result.stdout
    assert {
        "architecture": "mobilenet_v3_small",
        "model_name": "flowers",
        "num_classes": 3,
        "weights": "state_dict",
        "transforms": "custom",
        "resize_mode": "stretch",
        "image_size": 128,
        "label_format": "list",
        "response_format": "predictions",
        "top_k": 2,
    }.items() <= answers_of(folder).items()
    ignored = (folder / ".gitignore").read_text()
    assert ignored.startswith("*.pth\nsecrets.env\n")
    assert "model-store/" in ignored
    assert "flowers_mobilenet.pth" in git(folder, "ls-files")

    project = Project(folder)
    project.archive("--version", "2.1")
    for answer, known in zip(project.predict(*samples), expected, strict=True):
        assert [x["label"] for x in answer] == [x["class"] for x in known]
        for one, other in zip(answer, known, strict=True):
            assert abs(one["probability"] - other["prob"]) < 1e-5


def test_a_wrapper_class(service: Services) -> None:
    folder = service(handwritten.WRAPPER)
    save_random_weights(network_of(folder, "model.py", "PetClassifier"), folder / "pets.pt")
    commit(folder)
    samples = pictures(folder, *SIZES)
    words = ["--model-file", "model.py", "--serialized-file", "pets.pt"]
    words += ["--extra-files", "index_to_name.json"]
    expected = theirs(folder, words, "pet_handler.py", *samples)
    result = adopt(folder, "--defaults")
    assert {
        "project_name": "Pets at Home",
        "model_name": "pets",
        "architecture": "resnet18",
        "weights": "wrapped",
        "state_dict_prefix": "resnet18.",
        "head": "mlp_dropout",
        "head_units": 64,
        "transforms": "imagenet",
        "label_format": "index_to_name",
        "response_format": "label",
    }.items() <= answers_of(folder).items()
    assert "no longer needed: pet_handler.py" in result.stdout
    assert "config.properties:1 had inference_address=http://0.0.0.0:8080" in result.stdout
    assert (folder / "index_to_name.json").read_text("utf-8") == handwritten.WRAPPER[
        "index_to_name.json"
    ]
    assert "pet_handler.py" not in git(folder, "diff", "--name-only")

    project = Project(folder)
    project.archive()
    answers_now = project.predict(*samples)
    assert [x["label"] for x in answers_now] == [x["label"] for x in expected]


def test_a_module_with_handle_and_a_network_of_ones_own(service: Services) -> None:
    folder = service(handwritten.HANDLE)
    torch.manual_seed(0)
    network = network_of(folder, "model_handler.py", "DigitNet", 1)
    (folder / "checkpoints").mkdir()
    torch.save(
        {"epoch": 3, "model_state_dict": network.state_dict()}, folder / "checkpoints/last.ckpt"
    )
    commit(folder)
    samples = pictures(folder, *SIZES)
    words = ["--serialized-file", "checkpoints/last.ckpt"]
    expected = theirs(folder, words, "model_handler.py", *samples)
    result = adopt(folder, "--defaults")
    assert {
        "architecture": "custom",
        "num_classes": 10,
        "color_mode": "L",
        "weights": "checkpoint",
        "transforms": "custom",
        "image_size": 32,
        "mean": [0.1307],
        "label_format": "none",
    }.items() <= answers_of(folder).items()
    assert "no longer needed: model_handler.py" in result.stdout
    model = (folder / "model.py").read_text()
    assert "class DigitNet" in model
    assert "def block(" in model
    assert "WIDTH = 8" in model
    for other in ("ModelHandler", "transforms", "PIL"):
        assert other not in model

    project = Project(folder)
    project.archive()
    for answer, known in zip(project.predict(*samples), expected, strict=True):
        assert [x["index"] for x in answer] == torch.tensor(known).topk(5).indices.tolist()
        assert abs(answer[0]["probability"] - max(known)) < 1e-5


def test_a_subclass_of_image_classifier(service: Services) -> None:
    folder = service(handwritten.CLASSIFIER)
    save_random_weights(network_of(folder, "mnist.py", "Net"), folder / "mnist_cnn.pt")
    commit(folder)
    samples = pictures(folder, (28, 28), (28, 28))
    for path in samples:
        Image.open(path).convert("L").save(path)
    words = ["--model-file", "mnist.py", "--serialized-file", "mnist_cnn.pt"]
    expected = theirs(folder, words, "mnist_handler.py", *samples)
    result = adopt(folder, "--defaults", "-d", "image_size=28")
    assert {
        "architecture": "custom",
        "model_name": "mnist",
        "color_mode": "L",
        "num_classes": 10,
        "mean": [0.1307],
        "response_format": "scores",
        "top_k": 3,
    }.items() <= answers_of(folder).items()
    assert "no longer needed: mnist.py (model.py has its class)" in result.stdout

    project = Project(folder)
    project.archive()
    for answer, known in zip(project.predict(*samples), expected, strict=True):
        assert list(answer) == list(known)
        assert answer == pytest.approx(known, abs=1e-5)
    tested = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout
