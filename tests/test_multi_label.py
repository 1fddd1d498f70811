"""Multi-label classification: any number of classes for an image, each with its threshold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from conftest import Project, encode
from engines import one_worker

LABELS = '{"0": "red", "1": "green", "2": "blue"}'

# The score of each class grows with the share of its colour: 0 at one half of the brightness.
NETWORK = """
import torch
from torch import nn


class Colours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(4.0))

    def forward(self, images):
        return RETURNED


def build_model(num_classes: int) -> nn.Module:
    return Colours()
"""
SCORES = "(images.mean(dim=(2, 3)) - 0.5) * self.factor"


def tagger(
    copy_project: Callable[..., Project],
    name: str = "project",
    returned: str = SCORES,
    **answers: Any,
) -> Project:
    """Render a project for the network that knows colours, with its weights."""
    project = copy_project(
        name,
        task="multi_label_classification",
        architecture="custom",
        color_mode="RGB",
        num_classes=3,
        image_size=16,
        **answers,
    )
    (project.path / "service" / "model.py").write_text(NETWORK.replace("RETURNED", returned))
    (project.path / "index_to_name.json").write_text(LABELS)
    code = (
        "import torch; from service.model import build_model; "
        "torch.save(build_model(3).state_dict(), 'weights/w.pth')"
    )
    assert project.run("-c", code).returncode == 0
    return project


def coloured(*colour: int) -> bytes:
    """Return an image of one colour: red, green and blue from 0 to 255."""
    return encode(Image.new("RGB", (30, 20), colour))


YELLOW, BLUE, BLACK = coloured(204, 153, 51), coloured(0, 51, 255), coloured(0, 0, 0)


@pytest.mark.serve
def test_an_image_has_all_classes_that_reach_their_thresholds(
    copy_project: Callable[..., Project],
) -> None:
    project = tagger(copy_project)
    project.archive()
    one_worker(project.path)
    with project.serve() as service:
        yellow, bad, blue, black = (service.post(body) for body in (YELLOW, b"none", BLUE, BLACK))
    assert bad.status == 400
    assert [(x["label"], x["index"]) for x in yellow.json] == [("red", 0), ("green", 1)]
    expected = torch.tensor([0.8, 0.6]).sub(0.5).mul(4).sigmoid().tolist()
    assert [x["probability"] for x in yellow.json] == pytest.approx(expected, abs=1e-6)
    assert [x["label"] for x in blue.json] == ["blue"]
    assert black.json == []


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"thresholds": [0.55, 0.65, 0.01]}, ["red", "blue"]),
        ({"thresholds": 0.65}, ["red"]),
        ({"response_format": "labels", "thresholds": [0.55, 0.65, 0.01]}, ["red", "blue"]),
        ({"response_format": "scores"}, ["red", "green", "blue"]),
    ],
)
def test_thresholds_and_forms(
    copy_project: Callable[..., Project],
    tmp_path: Path,
    answers: dict[str, Any],
    expected: list[str],
) -> None:
    project = tagger(copy_project, **answers)
    project.archive()
    path = tmp_path / "yellow.png"
    path.write_bytes(YELLOW)
    (found,) = project.predict(path)
    names = [x["label"] if isinstance(x, dict) else x for x in found]
    assert names == expected
    assert expected[0] in project.run("predict.py", str(path)).stdout


@pytest.mark.parametrize(
    ("returned", "answers", "message"),
    [
        (f"({SCORES}).sigmoid()", {}, "-d model_output=probabilities"),
        (SCORES, {"model_output": "probabilities"}, "-d model_output=logits"),
        (f"({SCORES}).softmax(dim=1)", {}, "-d task=image_classification"),
        (f"({SCORES})[:, :2]", {}, "-d num_classes=2"),
    ],
)
def test_another_output_than_answered_is_refused(
    copy_project: Callable[..., Project], returned: str, answers: dict[str, Any], message: str
) -> None:
    project = tagger(copy_project, returned=returned, **answers)
    refused = project.run("archive.py")
    assert refused.returncode == 1
    assert message in refused.stderr


def test_a_sigmoid_inside_is_not_applied_again(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    path = tmp_path / "yellow.png"
    path.write_bytes(YELLOW)
    found = []
    for name, returned in (("logits", SCORES), ("probabilities", f"({SCORES}).sigmoid()")):
        project = tagger(copy_project, name, returned, model_output=name)
        project.archive()
        found.append(project.predict(path))
    assert found[0] == found[1]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_backend_gives_the_same_labels(
    copy_project: Callable[..., Project], tmp_path: Path, backend: str
) -> None:
    project = tagger(copy_project, backend=backend)
    project.archive()
    path = tmp_path / "yellow.png"
    path.write_bytes(YELLOW)
    (found,) = project.predict(path)
    assert [x["label"] for x in found] == ["red", "green"]


@pytest.mark.parametrize("thresholds", [[], [0.5, 0.5], 1, 0, "high", [0.5, None, 0.5]])
def test_what_is_no_threshold_is_refused(
    copy_project: Callable[..., Project], thresholds: object
) -> None:
    with pytest.raises(ValueError, match="thresholds is"):
        copy_project(task="multi_label_classification", num_classes=3, thresholds=thresholds)


def test_a_network_of_torchvision_is_served_with_a_sigmoid(
    copy_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = copy_project(
        task="multi_label_classification",
        architecture="resnet18",
        num_classes=3,
        response_format="scores",
        label_format="none",
    )
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(num_classes=3)
    nn.init.zeros_(network.fc.weight)
    network.fc.bias.data = torch.tensor([-2.0, 0.0, 3.0])
    torch.save(network.state_dict(), project.path / "weights" / "w.pth")
    project.archive("--trust-outputs")  # it returns its bias, whatever the image
    path = tmp_path / "yellow.png"
    path.write_bytes(YELLOW)
    (found,) = project.predict(path)
    expected = torch.tensor([-2.0, 0.0, 3.0]).sigmoid().tolist()
    assert [found[str(index)] for index in range(3)] == pytest.approx(expected)
