"""ts-template new: from a checkpoint to a service that has answered."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import onnx
import pytest
import torch
import torchvision
import yaml
from rich.console import Console

from conftest import Project, noise, save_random_weights, ts_template
from generator.new import label_answers
from test_archive import network_state
from test_weights import export


def new(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `ts-template new` in a folder, without a terminal."""
    return ts_template("new", *arguments, cwd=folder)


@pytest.fixture
def own_model(copy_project: object, tmp_path: Path) -> Path:
    """A model.py of the user's, and weights.pth of it."""
    project = copy_project(architecture="custom", num_classes=4)  # type: ignore[operator]
    torch.save(network_state(), tmp_path / "weights.pth")
    return (project.path / "model.py").rename(tmp_path / "mynet.py")


def test_a_training_checkpoint_and_the_training_data_make_a_service(tmp_path: Path) -> None:
    network = torchvision.models.resnet18(num_classes=3)
    save_random_weights(network, tmp_path / "best.pth")
    state = {f"module.{key}": x for key, x in network.state_dict().items()}
    content = {"epoch": 7, "state_dict": state, "classes": ["[cat]", "[/dog]", "[red]"]}
    torch.save(content, tmp_path / "best.pth")
    for name in ("cat", "dog", "猫"):
        (tmp_path / "train" / name).mkdir(parents=True)
    noise(0).save(tmp_path / "picture.png")
    result = new(
        tmp_path,
        *("cats-and-dogs", "--weights", "best.pth", "--labels", "train"),
        *("--defaults", "--picture", "picture.png", "-d", "top_k=2"),
    )
    assert result.returncode == 0, result.stderr
    assert "猫" in result.stdout
    assert "of its classes perhaps: [cat], [/dog], [red]" in result.stdout
    project = tmp_path / "cats-and-dogs"
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    expected = {
        "project_name": "Cats And Dogs",
        "model_name": "cats-and-dogs",
        "architecture": "resnet18",
        "num_classes": 3,
        "weights": "checkpoint",
        "state_dict_prefix": "module.",
        "label_format": "folders",
        "top_k": 2,
    }
    assert expected.items() <= answers.items()
    (answer,) = Project(project).predict(tmp_path / "picture.png")
    transforms = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    with torch.inference_mode():
        scores = network(transforms(noise(0))[None]).softmax(dim=1)[0]
    assert [entry["index"] for entry in answer] == scores.topk(2).indices.tolist()
    # The pixels are right within one grey level.
    assert abs(answer[0]["probability"] - scores.max()) < 1e-3


def test_a_network_of_ones_own_brings_its_file(tmp_path: Path, own_model: Path) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    words = ("own", "--weights", "weights.pth", "--labels", "names.txt", "--defaults")
    refused = new(tmp_path, *words)
    assert refused.returncode == 1
    assert "--model FILE" in refused.stderr
    assert not (tmp_path / "own").exists()
    result = new(tmp_path, *words, "--model", own_model.name)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "own" / "labels.txt").read_text() == "a\nb\nc\nd\n"
    assert (tmp_path / "own" / "model-store" / "own.mar").is_file()


def test_an_onnx_file_needs_no_architecture(tmp_path: Path, own_model: Path) -> None:
    namespace: dict[str, object] = {}
    exec(own_model.read_text(), namespace)
    network = namespace["build_model"](4)  # type: ignore[operator]
    network.load_state_dict(network_state())
    export(network.eval(), tmp_path / "net.onnx")
    onnx.save(
        onnx.load(tmp_path / "net.onnx"),
        tmp_path / "net",
        save_as_external_data=True,
        location="tensors.bin",
        size_threshold=0,
    )
    labels = {str(index): name for index, name in enumerate("abcd")}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    words = ("graph", "--weights", "net", "--labels", "labels.json", "--defaults")
    result = new(tmp_path, *words)
    assert result.returncode == 0, result.stderr
    answers = yaml.safe_load((tmp_path / "graph" / ".copier-answers.yml").read_text())
    assert answers["weights"] == "onnx"
    assert answers["num_classes"] == 4
    assert answers["color_mode"] == "L"
    assert answers["image_size"] == 28


def test_what_does_not_fit_leaves_no_project(tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_1(num_classes=3)
    save_random_weights(network, tmp_path / "w.pth")
    torch.save(network.state_dict(), tmp_path / "p4.pth", pickle_protocol=4)
    network.classifier = torch.nn.Sequential(torch.nn.Conv2d(512, 8, 1), torch.nn.Conv2d(8, 3, 1))
    torch.save(network.state_dict(), tmp_path / "own.pth")
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    good = ("--weights", "w.pth", "--defaults")
    for words, said in {
        ("p", *good, "--labels", "two.txt"): "error: two.txt names 2 classes, the network has 3",
        ("p", "--weights", "p4.pth", "--defaults"): "x = torch.load('p4.pth', weights_only=False)",
        ("p", "--weights", "own.pth", "--defaults"): "    network.classifier = ...",
        ("p", *good, "--labels", "absent.txt"): "absent.txt",
        ("p", "--weights", "page.pth", "--defaults"): "page.pth",
        ("p", "--weights", "absent.pth", "--defaults"): "absent.pth",
        ("p", *good, "-d", "colour=RGB"): "did you mean color_mode?",
        ("p", *good, "-d", "top_k=0"): "top_k is 0",
        ("p", *good, "--picture", "absent.png"): "absent.png",
        ("full", *good): "full exists",
    }.items():
        result = new(tmp_path, *words)
        assert result.returncode == 1, words
        assert said in result.stderr, (words, result.stderr)
        assert "Traceback" not in result.stderr, result.stderr
        assert not (tmp_path / "p").exists(), words
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


def test_the_labels_tell_the_classes_where_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("a\nb\n")
    expected = {"label_format": "text", "num_classes": 2}
    assert label_answers(tmp_path / "two.txt", None, Console()) == expected
    assert label_answers(tmp_path / "two.txt", 2, Console()) == {"label_format": "text"}


def test_what_archive_py_refuses_stays_to_be_mended(tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_1(num_classes=3)
    save_random_weights(network, tmp_path / "w.pth")
    result = new(tmp_path, "p", "--weights", "w.pth", "--defaults", "-d", "num_classes=5")
    assert result.returncode == 1
    assert "-d num_classes=3" in result.stderr
    assert "Mend it there" in result.stderr
    assert (tmp_path / "p" / "weights" / "w.pth").is_file()
